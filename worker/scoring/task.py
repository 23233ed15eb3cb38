"""The score task: ids in, one transaction out. Safe to run twice on the same ids, and to die at any line.

`worker.scoring.outcomes` says what becomes of each film; here it is claimed before, written after, or given back.
"""

import logging
import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import ColumnElement, Connection, Engine, Row, and_, delete, select, update
from sqlalchemy.exc import DataError, IntegrityError, SQLAlchemyError

from dicom_gateway.spool import Spool
from model.errors import BundleError, ModelError, first_line
from worker.audit import trail
from worker.bundles.loaded import Loaded, Roles, Serving
from worker.bundles.shadows import score_shadows
from worker.db import film_measures, scores
from worker.db.causes import cause
from worker.db.session import CommitUnknown, database_time, writing
from worker.db.tables import instance, outbox
from worker.metrics import WorkerMetrics
from worker.queue.outbox import Claims
from worker.scoring.decoding import UNAVAILABLE, DecodePool
from worker.scoring.outcomes import ATTEMPTS_EXHAUSTED, INFERENCE_BATCH, Outcome, outcomes_of
from worker.states import Role, State

log = logging.getLogger("xrayq.worker")

LONGEST_WAIT = 60.0
MOST_RENEWALS = 30  # at a third of a lease each: ten leases


@dataclass(frozen=True, kw_only=True)
class RetryOptions:
    max_attempts: int
    retry_seconds: float
    """Wait after the first failed attempt; doubles."""
    lease_seconds: float

    def wait(self, failed: int) -> timedelta:
        """Before the next attempt, after so many that failed."""
        return timedelta(seconds=min(self.retry_seconds * 2 ** min(failed - 1, 10), LONGEST_WAIT))


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
    ) -> None:
        self._database = database
        self._spool = spool
        self._serving = serving
        self._decoders = decoders
        self._retry = retry
        self._metrics = metrics or WorkerMetrics()
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
            log.error("no bundle scores", extra={"instances": len(claims), "reason": first_line(error)})
            return
        if not rows:
            return
        self._metrics.began(len(rows))
        try:
            self._serving.keep(roles)
            with self._keeping_leases(rows), self._serving.using(roles.live) as live:
                self._metrics.serves(live.engine, bundle=live.bundle.digest, bundle_version=live.bundle.version)
                outcomes = list(outcomes_of(rows, live, self._spool, self._decoders, self._metrics))
                finished = self._finish([outcome for outcome in outcomes if outcome.reason != UNAVAILABLE], live, rows)
        except Exception as error:
            if isinstance(error, (ModelError, SQLAlchemyError)) and not isinstance(error, (DataError, IntegrityError)):
                words = cause(error) if isinstance(error, SQLAlchemyError) else first_line(error)
                self._postpone(rows, type(error).__name__, words)
                return
            self._put_off(rows)  # what a film brought may be the cause: the attempt counts
            raise
        ours = {outcome.instance_id for outcome in outcomes if outcome.reason == UNAVAILABLE}
        if ours:
            self._postpone([row for row in rows if row.id in ours], UNAVAILABLE)
        ended = Counter(one.state for one in outcomes if one.instance_id in finished)
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
            (one.scored, one.image)
            for one in outcomes
            if one.scored and one.image is not None and one.instance_id in finished
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
                select(instance, outbox.c.attempts, outbox.c.claims)
                .join(outbox, outbox.c.instance_id == instance.c.id)
                .where(instance.c.id.in_(list(claims)), instance.c.state == State.RECEIVED, outbox.c.kind == "score")
                .order_by(instance.c.id)
            ).all()
            mine = [row for row in rows if row.claims == claims[row.id]]
            exhausted = [row for row in mine if row.attempts >= self._retry.max_attempts]
            now = database_time(connection)
            able = [row for row in mine if row.attempts < self._retry.max_attempts]
            left += [row for row in able if self._claim(connection, row, now)]
            roles = self._serving.current(connection)
            lost = [Outcome(instance_id=row.id, state=State.FAILED, reason=ATTEMPTS_EXHAUSTED) for row in exhausted]
            finished = self._write(connection, lost)
        self._tell(lost, finished, exhausted)
        return left, roles

    def _claim(self, connection: Connection, row: Row[Any], now: datetime) -> bool:
        claimed = connection.execute(
            update(outbox)
            .where(outbox.c.instance_id == row.id, outbox.c.claims == row.claims)
            .values(claims=row.claims + 1, attempts=row.attempts + 1, **self._lease(row, now))
        )
        return claimed.rowcount == 1

    def _lease(self, row: Row[Any], now: datetime) -> dict[str, datetime]:
        """Who lets it pass is dead: that attempt failed, and the next one waits as after any other."""
        end = now + timedelta(seconds=self._retry.lease_seconds)
        return {"lease_until": end, "next_attempt_at": end + self._retry.wait(row.attempts + 1)}

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
                            connection.execute(update(outbox).where(_ours(row)).values(**self._lease(row, now)))
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
        self._tell(outcomes, finished, rows)
        return finished

    def _tell(self, outcomes: list[Outcome], finished: set[int], rows: list[Row[Any]]) -> None:
        """Count and log how each film ended."""
        digests = {row.id: row.digest[:12] for row in rows}
        for outcome in outcomes:
            if outcome.instance_id not in finished:
                continue
            self._metrics.ended(outcome.state, outcome.reason, outcome.score)
            known = {"instance": outcome.instance_id, "digest": digests[outcome.instance_id]}
            reason = {"reason": outcome.reason} if outcome.reason else {}
            log.log(
                logging.WARNING if outcome.state is State.FAILED else logging.INFO,
                outcome.state.value,
                extra=known | reason,
            )

    def _write(self, connection: Connection, outcomes: list[Outcome], live: Loaded | None = None) -> set[int]:
        """State, scores, outbox and audit.

        Returns the ids that were still waiting; the others were finished elsewhere.
        """
        now = database_time(connection)
        in_order = sorted(outcomes, key=lambda outcome: outcome.instance_id)  # one order for all writers: no deadlock
        mine = [outcome for outcome in in_order if self._leave_received(connection, outcome, now)]
        if live:
            scored = [outcome.scored for outcome in mine if outcome.scored]
            scores.write(connection, live.bundle, live.engine.spec.name, Role.LIVE, scored, now)
            film_measures.write(connection, live.bundle.digest, {one.instance_id: one.measured for one in mine})
        connection.execute(delete(outbox).where(outbox.c.instance_id.in_([outcome.instance_id for outcome in mine])))
        trail.record_all(connection, [_event(outcome, live) for outcome in mine])
        return {outcome.instance_id for outcome in mine}

    def _leave_received(self, connection: Connection, outcome: Outcome, now: datetime) -> bool:
        changed = connection.execute(
            update(instance)
            .where(instance.c.id == outcome.instance_id, instance.c.state == State.RECEIVED)
            .values(state=outcome.state, reason=outcome.reason, finished_at=now)
        )
        return changed.rowcount == 1

    def _put_off(self, rows: list[Row[Any]]) -> None:
        """Free rows for the attempt after this one. Where the database does not take that, their leases pass."""
        with suppress(SQLAlchemyError), writing(self._database) as connection:
            now = database_time(connection)
            for row in rows:
                due = now + self._retry.wait(row.attempts + 1)
                connection.execute(update(outbox).where(_ours(row)).values(next_attempt_at=due, lease_until=None))

    def _postpone(self, rows: list[Row[Any]], reason: str, words: str = "") -> None:
        """Give rows back for later, without counting the attempt: the fault is ours, not the films'.

        While the database does not take that either, this worker owes the films their attempts.

        Args:
            reason: a code, for the metric.
            words: for the log, where they say more.
        """
        log.error("batch postponed", extra={"instances": len(rows), "reason": words or reason})
        self._metrics.postponed(reason)
        try:
            with writing(self._database) as connection:
                now = database_time(connection)
                for row in rows:
                    due = now + self._retry.wait(row.claims + 1)
                    values = {"attempts": row.attempts, "next_attempt_at": due, "lease_until": None}
                    connection.execute(update(outbox).where(_ours(row)).values(**values))
        except SQLAlchemyError as error:
            log.error("not postponed", extra={"instances": len(rows), "reason": cause(error)})
            with self._owing:
                self._owed += rows

    @contextmanager
    def _owed_where_unknown(self, rows: list[Row[Any]]) -> Iterator[None]:
        """An attempt that may be counted, of which nobody told us that we may begin."""
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
                    connection.execute(
                        update(outbox).where(ours, outbox.c.attempts > 0).values(attempts=outbox.c.attempts - 1)
                    )
            self._owed.clear()


def _ours(row: Row[Any]) -> ColumnElement[bool]:
    """The outbox row of a film, while nobody has claimed it after us."""
    return and_(outbox.c.instance_id == row.id, outbox.c.claims == row.claims + 1)


def _event(outcome: Outcome, live: Loaded | None) -> dict[str, Any]:
    detail: dict[str, Any] = {"bundle": live.bundle.digest} if live and outcome.score else {"reason": outcome.reason}
    if outcome.notes:
        detail["notes"] = list(outcome.notes)
    if outcome.display:
        detail["display"] = list(outcome.display)
    if outcome.state is State.INELIGIBLE and outcome.measured:
        detail["measured"] = outcome.measured
    return trail.event(action=outcome.state, instance_id=outcome.instance_id, actor="worker", detail=detail)
