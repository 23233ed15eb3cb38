"""The score task: ids in, one transaction out. Safe to run twice on the same ids, and to die at any line."""

import logging
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sqlalchemy import Connection, Engine, Row, delete, select, update
from sqlalchemy.exc import SQLAlchemyError

from dicom_gateway.spool import Spool
from model.errors import BundleError, EngineError, ModelError, first_line
from model.gate import Facts, Verdict
from model.reasons import REASONS
from model.scorer import Score, score
from worker import decoding, film_measures, score_rows, trail
from worker.db.session import writing
from worker.db.tables import instance, outbox
from worker.decoding import UNAVAILABLE, DecodePool
from worker.deployment import Role
from worker.metrics import WorkerMetrics
from worker.outbox import Claims
from worker.score_rows import Scored
from worker.serving import Loaded, Roles, Serving
from worker.shadows import score_shadows
from worker.states import State

log = logging.getLogger("xrayq.worker")

INFERENCE_BATCH = 4
ATTEMPTS_EXHAUSTED = "attempts_exhausted"
ENGINE_REFUSED = "engine_refused"
"""The engine answers other films, and not this one."""
LONGEST_WAIT = 60.0
MOST_RENEWALS = 30  # at a third of a lease each: ten leases

Ready = tuple[int, NDArray[np.uint8], Verdict]
"""An instance's id, its input [size, size] and what the gate says of it."""


@dataclass(frozen=True, kw_only=True)
class RetryOptions:
    max_attempts: int
    retry_seconds: float
    """Wait after the first failed attempt; doubles."""
    lease_seconds: float


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """Where one instance ends: a score, or a state and its reason."""

    instance_id: int
    state: State
    reason: str | None = None
    score: Score | None = None
    notes: tuple[str, ...] = ()
    """Marked reasons of the gate, of a film that was scored all the same."""
    measured: dict[str, float] = field(default_factory=dict)
    """What the gate measured of a film that was decoded."""
    image: NDArray[np.uint8] | None = None
    """[size, size], what was scored."""

    @property
    def scored(self) -> Scored | None:
        if self.score is None:
            return None
        return Scored(instance_id=self.instance_id, score=self.score, notes=self.notes)


def known_reasons() -> dict[State, list[str]]:
    """Every reason under which a film can end here, by state."""
    return {
        State.SCORED: [""],
        State.INELIGIBLE: list(REASONS),
        State.FAILED: [*decoding.reasons(), ATTEMPTS_EXHAUSTED, ENGINE_REFUSED],
    }


def refused(instance_id: int, verdict: Verdict) -> Outcome:
    return Outcome(instance_id=instance_id, state=State.INELIGIBLE, reason=verdict.reason, measured=verdict.measured)


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

    def run(self, claims: Claims) -> None:
        """Score, refuse or fail each instance of a message that still waits. Double delivery does nothing.

        Films wait while the live bundle cannot be loaded: none is scored by a bundle that is not live.
        """
        started = time.monotonic()
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
            with self._keeping_leases([row.id for row in rows]), self._serving.using(roles.live) as live:
                self._metrics.serves(live.engine, bundle=live.bundle.digest, bundle_version=live.bundle.version)
                outcomes = list(self._outcomes(rows, live))
                finished = self._finish([outcome for outcome in outcomes if outcome.reason != UNAVAILABLE], live)
        except ModelError as error:
            self._postpone(rows, type(error).__name__)
            return
        ours = {outcome.instance_id for outcome in outcomes if outcome.reason == UNAVAILABLE}
        if ours:
            self._postpone([row for row in rows if row.id in ours], UNAVAILABLE)
        log.info(
            "scored a batch",
            extra={
                "instances": len(finished),
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
        with writing(self._database) as connection:
            rows = connection.execute(
                select(instance, outbox.c.attempts, outbox.c.claims)
                .join(outbox, outbox.c.instance_id == instance.c.id)
                .where(instance.c.id.in_(list(claims)), instance.c.state == State.RECEIVED, outbox.c.kind == "score")
                .order_by(instance.c.id)
            ).all()
            mine = [row for row in rows if row.claims == claims[row.id]]
            exhausted = [row for row in mine if row.attempts >= self._retry.max_attempts]
            left = [row for row in mine if row.attempts < self._retry.max_attempts and self._claim(connection, row)]
            roles = self._serving.current(connection)
            lost = [Outcome(instance_id=row.id, state=State.FAILED, reason=ATTEMPTS_EXHAUSTED) for row in exhausted]
            finished = self._write(connection, lost)
        self._count(lost, finished)
        return left, roles

    def _claim(self, connection: Connection, row: Row[Any]) -> bool:
        claimed = connection.execute(
            update(outbox)
            .where(outbox.c.instance_id == row.id, outbox.c.claims == row.claims)
            .values(claims=row.claims + 1, attempts=row.attempts + 1, lease_until=self._lease_end())
        )
        return claimed.rowcount == 1

    def _lease_end(self) -> datetime:
        return datetime.now(UTC) + timedelta(seconds=self._retry.lease_seconds)

    @contextmanager
    def _keeping_leases(self, ids: list[int]) -> Iterator[None]:
        """Renew the leases while a batch is worked on. They pass when the worker dies, or hangs for MOST_RENEWALS."""
        done = threading.Event()

        def renew() -> None:
            for _ in range(MOST_RENEWALS):
                if done.wait(self._retry.lease_seconds / 3):
                    return
                try:
                    with writing(self._database) as connection:
                        connection.execute(
                            update(outbox).where(outbox.c.instance_id.in_(ids)).values(lease_until=self._lease_end())
                        )
                except SQLAlchemyError as error:
                    log.warning("leases not renewed", extra={"reason": type(error).__name__})

        thread = threading.Thread(target=renew, daemon=True)
        thread.start()
        try:
            yield
        finally:
            done.set()
            thread.join()

    def _outcomes(self, rows: list[Row[Any]], live: Loaded) -> Iterator[Outcome]:
        paths, facts = {}, {}
        for row in rows:
            facts[row.id] = Facts(
                modality=row.modality,
                body_part=row.body_part,
                view_position=row.view_position,
                age_years=row.age_years,
                burned_in=row.burned_in,
            )
            if reason := live.gate.header(facts[row.id]):
                yield Outcome(instance_id=row.id, state=State.INELIGIBLE, reason=reason)
            else:
                paths[row.id] = self._spool.path_of(row.digest)
        ready: list[Ready] = []
        for instance_id, decoded in self._decoders.decode(paths, live.bundle.preprocess):
            if decoded.seconds is not None:
                self._metrics.decode_seconds.observe(decoded.seconds)
            if decoded.image is None or decoded.quality is None:
                yield Outcome(instance_id=instance_id, state=State.FAILED, reason=decoded.reason)
                continue
            verdict = live.gate.judge(facts[instance_id], decoded.quality, decoded.image)
            if verdict.reason:
                yield refused(instance_id, verdict)
                continue
            ready.append((instance_id, decoded.image, verdict))
            if len(ready) == INFERENCE_BATCH:
                yield from self._infer(ready, live)
                ready = []
        if ready:
            yield from self._infer(ready, live)

    def _infer(self, ready: list[Ready], live: Loaded) -> list[Outcome]:
        with self._metrics.inference_seconds.time():
            return _infer(ready, live)

    def _finish(self, outcomes: list[Outcome], live: Loaded) -> set[int]:
        with self._metrics.commit_seconds.time(), writing(self._database) as connection:
            finished = self._write(connection, outcomes, live)
        self._count(outcomes, finished)
        return finished

    def _count(self, outcomes: list[Outcome], finished: set[int]) -> None:
        for outcome in outcomes:
            if outcome.instance_id in finished:
                self._metrics.ended(outcome.state, outcome.reason, outcome.score)

    def _write(self, connection: Connection, outcomes: list[Outcome], live: Loaded | None = None) -> set[int]:
        """State, scores, outbox and audit.

        Returns the ids that were still waiting; the others were finished elsewhere.
        """
        now = datetime.now(UTC)
        in_order = sorted(outcomes, key=lambda outcome: outcome.instance_id)  # one order for all writers: no deadlock
        mine = [outcome for outcome in in_order if self._leave_received(connection, outcome, now)]
        if live:
            scored = [outcome.scored for outcome in mine if outcome.scored]
            score_rows.write(connection, live, Role.LIVE, scored, now)
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

    def _postpone(self, rows: list[Row[Any]], reason: str) -> None:
        """Give rows back for later, without counting the attempt: the fault is ours, not the films'."""
        now = datetime.now(UTC)
        log.error("batch postponed", extra={"instances": len(rows), "reason": reason})
        self._metrics.postponed(reason)
        with writing(self._database) as connection:
            for row in rows:
                wait = min(self._retry.retry_seconds * 2 ** min(row.claims, 10), LONGEST_WAIT)
                connection.execute(
                    update(outbox)
                    .where(outbox.c.instance_id == row.id, outbox.c.claims == row.claims + 1)
                    .values(attempts=row.attempts, next_attempt_at=now + timedelta(seconds=wait), lease_until=None)
                )


def _infer(ready: list[Ready], live: Loaded) -> list[Outcome]:
    """Score films together, or one by one when that fails. One that fails alone, on an engine that runs, is at fault.

    Raises EngineError when the engine does not run.
    """
    try:
        return _score(ready, live)
    except EngineError:
        outcomes = []
        for film in ready:
            try:
                outcomes += _score([film], live)
            except EngineError:
                live.engine.warm_up()
                outcomes.append(
                    Outcome(instance_id=film[0], state=State.FAILED, reason=ENGINE_REFUSED, measured=film[2].measured)
                )
        return outcomes


def _score(ready: list[Ready], live: Loaded) -> list[Outcome]:
    images = np.stack([image for _, image, _ in ready])[:, None]
    return [
        Outcome(
            instance_id=instance_id,
            state=State.SCORED,
            score=result,
            notes=verdict.notes,
            measured=verdict.measured,
            image=image,
        )
        for (instance_id, image, verdict), result in zip(ready, score(live.engine, live.bundle, images), strict=True)
    ]


def _event(outcome: Outcome, live: Loaded | None) -> dict[str, Any]:
    detail: dict[str, Any] = {"bundle": live.bundle.digest} if live and outcome.score else {"reason": outcome.reason}
    if outcome.notes:
        detail["notes"] = list(outcome.notes)
    if outcome.state is State.INELIGIBLE and outcome.measured:
        detail["measured"] = outcome.measured
    return trail.event(action=outcome.state, instance_id=outcome.instance_id, actor="worker", detail=detail)
