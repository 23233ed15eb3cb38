"""The score task: ids in, one transaction out. Safe to run twice on the same ids, and to die at any line.

`worker.scoring.outcomes` says what becomes of each film; here it is claimed before, written after, or given back, as
`worker.queue.retry` decides.
"""

import logging
import threading
import time
from collections import Counter
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import Connection, Engine, Row, delete, select, update
from sqlalchemy.exc import SQLAlchemyError

from dicom_gateway.spool import Spool
from model.bundle import Bundle
from model.errors import BundleError, first_line
from worker.audit import score_digests, trail
from worker.audit.actions import Action, Actor
from worker.bundles.loaded import Loaded, Roles, Serving
from worker.bundles.shadows import ScoredFilm, score_shadows
from worker.db import film_measures, scores
from worker.db.causes import cause
from worker.db.errors import CommitUnknown
from worker.db.session import database_time, writing
from worker.db.tables import instance, outbox
from worker.metrics import WorkerMetrics
from worker.queue import lease
from worker.queue.lease import OUTBOX, Claim
from worker.queue.outbox import Claims
from worker.queue.retry import Count, Fault, Postpone, RetryOptions, decide, exhausted
from worker.scoring.decoding import DecodePool
from worker.scoring.faults import fault_of, in_words
from worker.scoring.outcomes import INFERENCE_BATCH, Outcome, Unfinished, after_fault, outcomes_of
from worker.states import Role, State
from worker.studies import opening

log = logging.getLogger("xrayq.worker")

MOST_RENEWALS = 30  # at a third of a lease each: ten leases
Results = Callable[[Connection, Collection[int], Bundle, datetime], None]
"""Called in the transaction that ends films, with their ids: writes what is to be sent of them."""


class Scoring:
    """Everything a score task needs, made once for each worker. `run` may be called from several threads."""

    def __init__(
        self,
        *,
        database: Engine,
        spool: Spool,
        serving: Serving,
        decoders: DecodePool,
        retry: RetryOptions,
        metrics: WorkerMetrics | None = None,
        results: Results | None = None,
    ) -> None:
        self._database = database
        self._spool = spool
        self._serving = serving
        self._decoders = decoders
        self._retry = retry
        self._metrics = metrics or WorkerMetrics()
        self._results = results
        self._owed: list[Row[Any]] = []
        self._owing = threading.Lock()

    def run(self, claims: Claims) -> None:
        """Score, refuse or fail each instance of a message that still waits. Double delivery does nothing.

        Films wait while the live bundle cannot be loaded: none is scored by a bundle that is not live.
        """
        started = time.monotonic()
        self._give_back()
        try:
            rows, roles = self._begin(claims)
        except BundleError as error:  # the films' leases pass, and they are published again
            log.error(
                "live bundle cannot be opened, films wait",
                extra={"instances": len(claims), "reason": first_line(error)},
            )
            return
        if not rows:
            return
        self._metrics.began(len(rows))
        try:
            self._serving.keep(roles)
            with self._keeping_leases(rows), self._serving.using(roles.live) as live:
                self._metrics.serves(live.engine, bundle=live.bundle.digest, bundle_version=live.bundle.version)
                ends = list(outcomes_of(rows, live, self._spool, self._decoders, self._metrics))
                outcomes = [end for end in ends if isinstance(end, Outcome)]
                finished = self._finish(outcomes, live, rows)
        except Exception as error:
            fault = fault_of(error)
            self._try_later(rows, fault, in_words(error))
            if isinstance(decide(fault), Count):
                raise
            return
        unfinished = {end.instance_id: end.fault for end in ends if isinstance(end, Unfinished)}
        for fault in sorted(set(unfinished.values())):
            self._try_later([row for row in rows if unfinished.get(row.id) is fault], fault, fault)
        ended = Counter(outcome.state for outcome in outcomes if outcome.instance_id in finished)
        log.info(
            "finished a batch",
            extra={
                "instances": len(finished),
                **{str(state): ended[state] for state in (State.SCORED, State.INELIGIBLE, State.FAILED)},
                "ms": round((time.monotonic() - started) * 1e3),
                "bundle": roles.live.digest[:12],
                "engine": live.engine.spec.name,
            },
        )
        films = [
            ScoredFilm(scored=outcome.scored, image=outcome.image, device=outcome.device)
            for outcome in outcomes
            if outcome.scored and outcome.image is not None and outcome.instance_id in finished
        ]
        score_shadows(
            self._database, self._serving, roles.shadows, films, live.bundle.preprocess, batch=INFERENCE_BATCH
        )

    def _begin(self, claims: Claims) -> tuple[list[Row[Any]], Roles]:
        """Take each row whose claim count is still the message's, and count the attempt before the work.

        So a film that takes the whole worker down is counted too, and no message is worked on twice. The roles are
        those of this moment.
        """
        left: list[Row[Any]] = []
        with self._owed_where_unknown(left), writing(self._database) as connection:
            rows = connection.execute(
                select(instance, outbox.c.id.label("outbox_id"), outbox.c.attempts, outbox.c.claims)
                .join(outbox, outbox.c.instance_id == instance.c.id)
                .where(instance.c.id.in_(list(claims)), instance.c.state == State.RECEIVED, outbox.c.kind == "score")
                .order_by(instance.c.id)
            ).all()
            mine = [row for row in rows if row.claims == claims[row.id]]
            now = database_time(connection)
            able = [row for row in mine if not exhausted(row.attempts, self._retry)]
            left += [row for row in able if self._claim(connection, row, now)]
            roles = self._serving.current(connection)
            ends = [
                after_fault(row.id, Fault.ATTEMPTS_EXHAUSTED) for row in mine if exhausted(row.attempts, self._retry)
            ]
            lost = [end for end in ends if isinstance(end, Outcome)]
            finished = self._write(connection, lost)
        self._report_ends(lost, finished, mine)
        return left, roles

    def _claim(self, connection: Connection, row: Row[Any], now: datetime) -> bool:
        values = {"attempts": row.attempts + 1} | self._lease(row, now)
        return lease.take(connection, OUTBOX, row.outbox_id, row.claims, **values) is not None

    def _lease(self, row: Row[Any], now: datetime) -> dict[str, datetime]:
        """What is decided of a worker that dies is written while it lives."""
        end = now + timedelta(seconds=self._retry.lease_seconds)
        decision = decide(Fault.WORKER_DIED, attempts=row.attempts + 1)
        wait = self._retry.wait(decision) if isinstance(decision, Postpone | Count) else timedelta()
        return {"lease_until": end, "next_attempt_at": end + wait}

    @contextmanager
    def _keeping_leases(self, rows: list[Row[Any]]) -> Iterator[None]:
        """Renew the leases while a batch is worked on. They pass when the worker dies, or hangs for MOST_RENEWALS."""
        done = threading.Event()

        def renew() -> None:
            for _ in range(MOST_RENEWALS):
                if done.wait(self._retry.lease_seconds / 3):
                    return
                try:
                    with writing(self._database) as connection:
                        now = database_time(connection)
                        for row in rows:
                            lease.change(connection, OUTBOX, _claim_of(row), **self._lease(row, now))
                except SQLAlchemyError as error:
                    log.warning("leases not renewed", extra={"reason": cause(error)})

        thread = threading.Thread(target=renew, daemon=True)
        thread.start()
        try:
            yield
        finally:
            done.set()
            thread.join()

    def _finish(self, outcomes: list[Outcome], live: Loaded, rows: list[Row[Any]]) -> set[int]:
        with self._metrics.commit_seconds.time(), writing(self._database) as connection:
            finished = self._write(connection, outcomes, live)
        self._report_ends(outcomes, finished, rows)
        return finished

    def _report_ends(self, outcomes: list[Outcome], finished: set[int], rows: list[Row[Any]]) -> None:
        """Count and log how each film ended."""
        digests = {row.id: row.digest[:12] for row in rows}
        for outcome in outcomes:
            if outcome.instance_id not in finished:
                continue
            self._metrics.ended(outcome.state, outcome.reason, outcome.score)
            extra = {"instance": outcome.instance_id, "digest": digests[outcome.instance_id]}
            extra |= {"reason": outcome.reason} if outcome.reason else {}
            level = logging.WARNING if outcome.state is State.FAILED else logging.INFO
            log.log(level, outcome.state.value, extra=extra)

    def _write(self, connection: Connection, outcomes: list[Outcome], live: Loaded | None = None) -> set[int]:
        """State, scores, outbox, studies, results to be sent, and audit.

        Returns the ids that were still waiting; the others were finished elsewhere.
        """
        now = database_time(connection)
        in_order = sorted(outcomes, key=lambda outcome: outcome.instance_id)  # one order for all writers: no deadlock
        mine = [outcome for outcome in in_order if self._leave_received(connection, outcome, now)]
        digests: dict[int, str] = {}
        if live:
            scored = [outcome.scored for outcome in mine if outcome.scored]
            scores.write(connection, live.bundle, live.engine.spec.name, Role.LIVE, scored, now)
            digests = score_digests.written(connection, live.bundle.digest, [one.instance_id for one in scored])
            film_measures.write(
                connection, live.bundle.digest, {outcome.instance_id: outcome.measured for outcome in mine}
            )
        ids = [outcome.instance_id for outcome in mine]
        connection.execute(delete(outbox).where(outbox.c.instance_id.in_(ids)))
        opening.changed(connection, ids, now)
        if live and self._results:
            self._results(connection, ids, live.bundle, now)
        trail.record_all(connection, [_event(outcome, live, digests) for outcome in mine])
        return set(ids)

    def _leave_received(self, connection: Connection, outcome: Outcome, now: datetime) -> bool:
        changed = connection.execute(
            update(instance)
            .where(instance.c.id == outcome.instance_id, instance.c.state == State.RECEIVED)
            .values(state=outcome.state, reason=outcome.reason, finished_at=now)
        )
        return changed.rowcount == 1

    def _try_later(self, rows: list[Row[Any]], fault: Fault, words: str) -> None:
        """Put rows back, with `words` in the log. While the database does not take that, leases pass.

        Of a fault of ours, this worker then owes the films their attempts.
        """
        counted = isinstance(decide(fault), Count)
        log.error("attempt failed" if counted else "batch postponed", extra={"instances": len(rows), "reason": words})
        if not counted:
            self._metrics.postponed(fault)
        try:
            self._put_back(rows, fault)
        except SQLAlchemyError as error:
            log.error("not put back", extra={"instances": len(rows), "reason": cause(error)})
            if not counted:
                with self._owing:
                    self._owed += rows

    def _put_back(self, rows: list[Row[Any]], fault: Fault) -> None:
        """Free rows for the attempt after this one. Raises SQLAlchemyError; then their leases pass."""
        with writing(self._database) as connection:
            now = database_time(connection)
            for row in rows:
                decision = decide(fault, attempts=row.attempts + 1, claims=row.claims + 1)
                if isinstance(decision, Postpone | Count):
                    attempts = row.attempts + isinstance(decision, Count)
                    due = now + self._retry.wait(decision)
                    lease.change(
                        connection, OUTBOX, _claim_of(row), attempts=attempts, next_attempt_at=due, lease_until=None
                    )

    @contextmanager
    def _owed_where_unknown(self, rows: list[Row[Any]]) -> Iterator[None]:
        """Attempts that may be counted, although they did not begin: nobody knows whether the claim was committed."""
        try:
            yield
        except CommitUnknown:
            with self._owing:
                self._owed += rows
            raise

    def _give_back(self) -> None:
        """The attempts that this worker owes. Raises SQLAlchemyError; then nothing is claimed either."""
        with self._owing:
            if not self._owed:
                return
            with writing(self._database) as connection:
                for row in self._owed:
                    ours = (outbox.c.instance_id == row.id) & (outbox.c.claims > row.claims)  # a requeued row is not
                    # Each claim adds one to both; who put the row back uncounted, perhaps in a commit of which nobody
                    # knew, has taken one from the attempts already.
                    owed = outbox.c.attempts - outbox.c.claims >= row.attempts - row.claims
                    connection.execute(
                        update(outbox).where(ours, owed, outbox.c.attempts > 0).values(attempts=outbox.c.attempts - 1)
                    )
            self._owed.clear()


def _claim_of(row: Row[Any]) -> Claim:
    """Of a film that we claimed, by its row from before."""
    return Claim(row_id=row.outbox_id, number=row.claims + 1)


def _event(outcome: Outcome, live: Loaded | None, digests: dict[int, str]) -> dict[str, Any]:
    """Args: digests: of the scores, by instance id."""
    detail: dict[str, Any] = {"reason": outcome.reason}
    if live and outcome.score:
        detail = {"bundle": live.bundle.digest, score_digests.IN_DETAIL: digests[outcome.instance_id]}
    if outcome.score and outcome.score.device:
        detail["device"] = outcome.score.device
    if outcome.notes:
        detail["notes"] = list(outcome.notes)
    if outcome.display:
        detail["display"] = list(outcome.display)
    if outcome.state is State.INELIGIBLE and outcome.measured:
        detail["measured"] = outcome.measured
    return trail.event(action=Action(outcome.state), instance_id=outcome.instance_id, actor=Actor.WORKER, detail=detail)
