"""What becomes of received films under one bundle: decoded, judged by the gate, scored. Nothing is written here."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sqlalchemy import Row

from dicom_gateway.header import Header
from dicom_gateway.spool import Spool
from dicom_gateway.views import TURNED, all_views, lie
from model.errors import EngineError
from model.gate.reasons import REASONS
from model.gate.rules import Facts, Verdict
from model.scorer import Score, score
from model.xray_devices import XrayDevice
from worker.bundles.loaded import Loaded
from worker.db.scores import NewScore
from worker.metrics import WorkerMetrics
from worker.queue.retry import DeadLetter, Fault, decide, fault_of_reason
from worker.scoring import decoding
from worker.scoring.decoding import DecodePool
from worker.states import NO_STUDY, State

INFERENCE_BATCH = 4


@dataclass(frozen=True, kw_only=True)
class Ready:
    """A film that the gate lets through."""

    instance_id: int
    image: NDArray[np.uint8]
    """[size, size]"""
    verdict: Verdict
    display: tuple[str, ...]
    """As of an `Outcome`."""
    device: XrayDevice


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """Where one instance ends: a score, or a state and its reason."""

    instance_id: int
    state: State
    reason: str | None = None
    score: Score | None = None
    notes: tuple[str, ...] = ()
    """Marked reasons of the gate, of a film that was scored all the same."""
    display: tuple[str, ...] = ()
    """What was odd about how a film that was decoded is shown, codes of `dicom_gateway.notes`."""
    measured: dict[str, float] = field(default_factory=dict)
    """What the gate measured of a film that was decoded."""
    image: NDArray[np.uint8] | None = None
    """[size, size], what was scored."""
    device: XrayDevice = field(default_factory=XrayDevice)
    """What made a film that was scored."""

    @property
    def scored(self) -> NewScore | None:
        if self.score is None:
            return None
        return NewScore(instance_id=self.instance_id, score=self.score, notes=self.notes)


@dataclass(frozen=True, kw_only=True)
class Unfinished:
    """An instance that is tried again later."""

    instance_id: int
    fault: Fault


def after_fault(
    instance_id: int,
    fault: Fault,
    *,
    reason: str = "",
    display: tuple[str, ...] = (),
    measured: dict[str, float] | None = None,
) -> Outcome | Unfinished:
    """What becomes of a film with this fault, as `worker.queue.retry` decides.

    Args:
        reason: closer than the fault's name.
        display, measured: as of an `Outcome`.
    """
    decision = decide(fault, reason=reason)
    if not isinstance(decision, DeadLetter):
        return Unfinished(instance_id=instance_id, fault=fault)
    return Outcome(
        instance_id=instance_id,
        state=State.FAILED,
        reason=decision.reason,
        display=display,
        measured=measured or {},
    )


def known_reasons() -> dict[State, list[str]]:
    """Every reason under which a film can end here, by state."""
    return {
        State.SCORED: [""],
        State.INELIGIBLE: list(REASONS),
        State.FAILED: [*decoding.reasons(), NO_STUDY, Fault.ATTEMPTS_EXHAUSTED, Fault.ENGINE_REFUSED],
    }


def facts_of(header: Row[Any] | Header) -> Facts:
    """What the gate goes by, of a row of `instance` that `was_read`, or of a header that was read anew."""
    return Facts(
        modality=header.modality,
        body_part=header.body_part,
        views=all_views(header.view_position, header.view_code, header.patient_orientation),
        turned=lie(header.patient_orientation) == TURNED,
        age_years=header.age_years,
        derived=header.derived,
        burned_in=header.burned_in,
        quality_control=header.quality_control,
    )


def device_of(row: Row[Any], header: Header | None) -> XrayDevice:
    """What made the film, of a row of `instance` or of its header, where that was read anew."""
    read = header or row
    return XrayDevice(
        calling_ae=row.calling_ae,
        manufacturer=read.manufacturer or "",
        model_name=read.model_name or "",
        station=read.station or "",
    )


def was_read(row: Row[Any]) -> bool:
    """Whether the gateway read all that the gate and a calibration go by. One of the release before did not."""
    by_gate = (row.view_code, row.patient_orientation, row.derived, row.quality_control)
    return None not in (*by_gate, row.manufacturer, row.model_name, row.station)


def outcomes_of(
    rows: list[Row[Any]], live: Loaded, spool: Spool, decoders: DecodePool, metrics: WorkerMetrics
) -> Iterator[Outcome | Unfinished]:
    """One for each row of `instance`, as soon as it is known. Raises EngineError when the engine does not run."""
    waiting = {}
    for row in rows:
        if was_read(row) and (ended := _by_header(row, facts_of(row), live)):
            yield ended
        else:
            waiting[row.id] = row
    paths = {row.id: spool.path_of(row.digest) for row in waiting.values()}
    digests = {row.id: row.digest for row in waiting.values()}
    unread = {row.id: row.received_at.date() for row in waiting.values() if not was_read(row)}
    ready: list[Ready] = []
    for instance_id, decoded in decoders.decode(paths, live.bundle.preprocess, digests, unread):
        row = waiting[instance_id]
        if decoded.seconds is not None:
            metrics.decode_seconds.observe(decoded.seconds)
        if decoded.header and (ended := _by_header(row, facts_of(decoded.header), live)):
            yield ended
            continue
        if decoded.image is None or decoded.quality is None:
            reason = decoded.reason or Fault.DECODER_ERROR
            yield after_fault(instance_id, fault_of_reason(reason), reason=reason)
            continue
        known = replace(facts_of(decoded.header or row), for_processing=decoded.for_processing)
        verdict = live.gate.judge(known, decoded.quality, decoded.image)
        if verdict.reason:
            yield Outcome(
                instance_id=instance_id,
                state=State.INELIGIBLE,
                reason=verdict.reason,
                display=decoded.notes,
                measured=verdict.measured,
            )
            continue
        ready.append(
            Ready(
                instance_id=instance_id,
                image=decoded.image,
                verdict=verdict,
                display=decoded.notes,
                device=device_of(row, decoded.header),
            )
        )
        if len(ready) == INFERENCE_BATCH:
            yield from _infer(ready, live, metrics)
            ready = []
    if ready:
        yield from _infer(ready, live, metrics)


def _by_header(row: Row[Any], facts: Facts, live: Loaded) -> Outcome | Unfinished | None:
    """Where the film ends by what its header says, None where its pixels decide."""
    if reason := live.gate.header(facts):
        return Outcome(instance_id=row.id, state=State.INELIGIBLE, reason=reason)
    if not row.study_instance_uid or not row.series_instance_uid:
        return after_fault(row.id, Fault.STUDY_MISSING)
    return None


def _infer(ready: list[Ready], live: Loaded, metrics: WorkerMetrics) -> Sequence[Outcome | Unfinished]:
    """Score films together, or one by one when that fails. One that fails alone, on an engine that runs, is at fault.

    Raises EngineError when the engine does not run.
    """
    with metrics.inference_seconds.time():
        try:
            return _score(ready, live)
        except EngineError:
            return [_score_alone(film, live) for film in ready]


def _score_alone(film: Ready, live: Loaded) -> Outcome | Unfinished:
    try:
        return _score([film], live)[0]
    except EngineError:
        live.engine.warm_up()
        return after_fault(film.instance_id, Fault.ENGINE_REFUSED, display=film.display, measured=film.verdict.measured)


def _score(ready: list[Ready], live: Loaded) -> list[Outcome]:
    images = np.stack([film.image for film in ready])[:, None]
    devices = [live.bundle.device_of(film.device) for film in ready]
    return [
        Outcome(
            instance_id=film.instance_id,
            state=State.SCORED,
            score=result,
            notes=film.verdict.notes,
            display=film.display,
            measured=film.verdict.measured,
            image=film.image,
            device=film.device,
        )
        for film, result in zip(ready, score(live.engine, live.bundle, images, devices), strict=True)
    ]
