"""Instances as people see them: listing, one in full, requeue and reject."""

from collections.abc import Callable, Collection, Mapping
from dataclasses import asdict, dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import ColumnElement, Connection, Engine, Row, Select, delete, func, select, update

from dicom_gateway.negotiation import class_name
from dicom_gateway.views import all_views
from model.json_value import plain
from worker.audit import trail
from worker.audit.actions import Action
from worker.db.scores import LiveScore, ScoreView, live_scores, of_instance
from worker.db.session import database_time, reading, snapshot, writing
from worker.db.tables import audit_event, instance, outbox
from worker.errors import NotFound, WrongState
from worker.peers import leaving
from worker.queue import outbox as queue
from worker.states import NO_STUDY, NOT_A_FILM, NOT_ADMITTED, OPERATOR, Priority, State, sources
from worker.studies import opening

OF_DEVICE = ("manufacturer", "model_name", "station")


@dataclass(frozen=True, kw_only=True)
class InstanceView:
    """One instance revision with its live score. Times are ISO 8601 with zone in `as_dict`."""

    id: int
    sop_instance_uid: str
    revision: int
    digest: str
    """Of the received film in the spool, SHA-256; of what is no film, also where it is not kept."""
    in_spool: bool
    """Whether what came was kept."""
    sop_class: str
    """Its name, or the UID where the standard has none."""
    sop_class_uid: str
    transfer_syntax_uid: str
    study_instance_uid: str
    series_instance_uid: str
    modality: str
    body_part: str
    view_position: str
    view_code: str | None
    """The views that View Code Sequence names, joined by backslashes; None: not read when the film came."""
    patient_orientation: str | None
    views: list[str]
    """Every view that the three before name; the gate goes by them."""
    age_years: float | None
    burned_in: str
    quality_control: str | None
    derived: str | None
    """What was made of the film, "" for the film itself; None as in `view_code`."""
    state: State
    reason: str | None
    probabilities: dict[str, float] | None
    flags: list[str] | None
    prediction_set: list[str] | None
    """Findings that the film may have; None without a score, or where the bundle makes no sets."""
    unsure: bool | None
    """Whether the set is not exactly one finding; None without a score."""
    bundle_digest: str | None
    engine: str | None
    calling_ae: str
    called_ae: str
    received_at: datetime
    scored_at: datetime | None
    identity_changed: list[str] | None = None
    """Of a revision: keywords of what says that it belongs to another patient, study or side than the one before."""
    replaced_by: int | None = None
    """The next revision; of a film the next film."""
    backfilled: bool = False
    """A backfill fetched it: an old film, counted in no figure of the day on which it came."""
    manufacturer: str | None = None
    """None, and not in the JSON, in the three of the device: not read when the film came."""
    model_name: str | None = None
    station: str | None = None

    @property
    def view(self) -> str:
        """As View Position says, else as View Code Sequence does; "" where neither does."""
        return self.view_position or self.view_code or ""

    def as_dict(self) -> dict[str, Any]:
        """JSON-ready."""
        found: dict[str, Any] = plain(asdict(self), timespec="auto")
        return {name: value for name, value in found.items() if name not in OF_DEVICE or value is not None}


@dataclass(frozen=True, kw_only=True)
class HistoryEvent:
    """What the audit trail says of an instance at one time."""

    at: datetime
    action: str
    actor: str
    detail: Mapping[str, Any]
    """JSON-ready; what it holds goes by the action."""

    def as_dict(self) -> dict[str, Any]:
        """JSON-ready."""
        return {"at": self.at.isoformat(), "action": self.action, "actor": self.actor, "detail": self.detail}


def list_instances(
    engine: Engine, *, state: State | None = None, reason: str = "", limit: int = 0, newest_first: bool = False
) -> list[InstanceView]:
    """Instances by id, oldest first unless `newest_first`; `limit` 0 is all."""
    query = select(instance).where(*_wanted(state, reason))
    query = query.order_by(instance.c.id.desc() if newest_first else instance.c.id)
    with snapshot(engine) as connection:
        return _views(connection, query.limit(limit) if limit else query)


def count_instances(engine: Engine, *, state: State | None = None, reason: str = "") -> int:
    """How many `list_instances` would list without a limit."""
    query = select(func.count()).select_from(instance).where(*_wanted(state, reason))
    with reading(engine) as connection:
        return int(connection.execute(query).scalar_one())


def _wanted(state: State | None, reason: str) -> list[ColumnElement[bool]]:
    return ([instance.c.state == state] if state else []) + ([instance.c.reason == reason] if reason else [])


def find(engine: Engine, name: str) -> list[InstanceView]:
    """The instance of an id, or every revision of a SOP Instance UID. Raises NotFound."""
    is_id = name.isascii() and name.isdigit() and len(name) < 19  # fits a 64-bit column
    query = select(instance).where(instance.c.id == int(name) if is_id else instance.c.sop_instance_uid == name)
    with reading(engine) as connection:
        views = _views(connection, query.order_by(instance.c.revision))
    if not views:
        raise NotFound(f"no instance {name}: 'xrayq instance list' shows ids and UIDs")
    return views


def count_by_reason(engine: Engine) -> list[tuple[str, str | None, int]]:
    """(state, reason, instances), most first."""
    count = func.count()
    query = select(instance.c.state, instance.c.reason, count).group_by(instance.c.state, instance.c.reason)
    with snapshot(engine) as connection:
        rows = connection.execute(query.order_by(count.desc(), instance.c.state, instance.c.reason)).all()
    return [(state, reason, number) for state, reason, number in rows]


def history(engine: Engine, instance_id: int) -> list[HistoryEvent]:
    """The instance's audit events, oldest first."""
    with reading(engine) as connection:
        rows = connection.execute(
            select(audit_event).where(audit_event.c.instance_id == instance_id).order_by(audit_event.c.id)
        ).all()
    return [HistoryEvent(at=row.at, action=row.action, actor=row.actor, detail=row.detail) for row in rows]


def scores_of(engine: Engine, instance_id: int) -> list[ScoreView]:
    """The instance's scores: live, then shadows."""
    with reading(engine) as connection:
        return of_instance(connection, instance_id)


def requeue(engine: Engine, instance_id: int, actor: str) -> None:
    """A dead letter back to work. Raises NotFound, WrongState."""
    with writing(engine) as connection:
        _move(connection, instance_id, State.RECEIVED, sources(State.RECEIVED), reason=None, finished_at=None)
        due = database_time(connection)
        queue.add(connection, instance_id, due, _priority(connection, instance_id))
        opening.changed(connection, [instance_id], due)
        trail.record(connection, action=Action.REQUEUED, instance_id=instance_id, actor=actor)


@dataclass(frozen=True, kw_only=True)
class TakenBack:
    """Where the result of an earlier revision is taken back."""

    told: tuple[str, ...] = ()
    """Names of destinations that are told."""
    not_told: tuple[str, ...] = ()
    """Of those that have something of it, and cannot be told: the settings name them no more, or no bundle is live."""


@dataclass(frozen=True, kw_only=True)
class Rejected:
    """What became of an instance that a person took out."""

    reason: str
    back: TakenBack = TakenBack()


def reject(
    engine: Engine,
    instance_id: int,
    actor: str,
    take_back: Callable[[Connection, int, datetime], TakenBack] = lambda *_: TakenBack(),
    *,
    only: State | None = None,
) -> Rejected:
    """Take an instance out of the queue or the quarantine, or a dead letter off the list, for good.

    Args:
        take_back: see `worker.reporting.taken_out`.
        only: the state in which somebody saw it: in another one it stays as it is.

    Raises NotFound, WrongState, and what `take_back` raises.
    """
    if only in (None, State.QUARANTINED) and _state_of(engine, instance_id) == State.QUARANTINED:
        leaving.reject_instance(engine, instance_id, actor=actor)
        return Rejected(reason=NOT_ADMITTED)
    with writing(engine) as connection:
        _lock_revisions(connection, instance_id)
        now = database_time(connection)
        allowed = (only,) if only else sources(State.INELIGIBLE)
        _move(connection, instance_id, State.INELIGIBLE, allowed, reason=OPERATOR, finished_at=now)
        connection.execute(delete(outbox).where(outbox.c.instance_id == instance_id))
        opening.changed(connection, [instance_id], now)
        back = take_back(connection, instance_id, now)
        trail.record(connection, action=Action.REJECTED, instance_id=instance_id, actor=actor)
    return Rejected(reason=OPERATOR, back=back)


def _priority(connection: Connection, instance_id: int) -> Priority:
    backfilled = connection.execute(select(instance.c.backfilled).where(instance.c.id == instance_id)).scalar_one()
    return Priority.of(backfilled)


def _state_of(engine: Engine, instance_id: int) -> str | None:
    """None where there is no such instance."""
    with reading(engine) as connection:
        return connection.execute(select(instance.c.state).where(instance.c.id == instance_id)).scalar_one_or_none()


def _lock_revisions(connection: Connection, instance_id: int) -> None:
    """Every revision of the film, in the order in which all who lock several films do.

    Until this transaction ends none of them ends, and no result of one is recorded as sent. So `take_back` sees it, or
    who sends it later sees that this one was taken out.
    """
    uid = select(instance.c.sop_instance_uid).where(instance.c.id == instance_id).scalar_subquery()
    films = select(instance.c.id).where(instance.c.sop_instance_uid == uid)
    connection.execute(films.order_by(instance.c.id).with_for_update(key_share=True))


def _move(connection: Connection, instance_id: int, target: State, allowed: Collection[State], **values: Any) -> None:
    row = connection.execute(
        select(instance.c.state, instance.c.reason, instance.c.is_film)
        .where(instance.c.id == instance_id)
        .with_for_update()
    ).one_or_none()
    if row is None:
        raise NotFound(f"no instance {instance_id}")
    if row.state == State.QUARANTINED:
        raise WrongState(f"instance {instance_id} is in quarantine: 'xrayq instance admit {instance_id}', or reject")
    if not row.is_film:
        raise WrongState(f"instance {instance_id} is no film ({NOT_A_FILM}): there is nothing to score")
    if target is State.RECEIVED and row.reason == NO_STUDY:
        raise WrongState(
            f"instance {instance_id} has no Study or Series Instance UID ({NO_STUDY}) and would fail again: correct "
            f"the UIDs at the sender and send it again, then 'xrayq instance reject {instance_id}'"
        )
    if State(row.state) not in allowed:
        raise WrongState(f"instance {instance_id} is {row.state}; this needs {' or '.join(allowed)}")
    connection.execute(update(instance).where(instance.c.id == instance_id).values(state=target, **values))


def _views(connection: Connection, query: Select[Any]) -> list[InstanceView]:
    later = instance.alias()
    same = (
        (later.c.sop_instance_uid == instance.c.sop_instance_uid)
        & (later.c.is_film == instance.c.is_film)
        & later.c.admitted
    )
    next_revision = select(later.c.id).where(same, later.c.revision > instance.c.revision).order_by(later.c.revision)
    rows = connection.execute(query.add_columns(next_revision.limit(1).scalar_subquery().label("replaced_by"))).all()
    chosen = query.with_only_columns(instance.c.id).subquery()
    scores = live_scores(connection, instance.c.id.in_(select(chosen.c.id)))
    return [_view(row, scores.get(row.id)) for row in rows]


def _view(row: Row[Any], live: LiveScore | None) -> InstanceView:
    return InstanceView(
        id=row.id,
        sop_instance_uid=row.sop_instance_uid,
        revision=row.revision,
        digest=row.digest,
        in_spool=row.in_spool,
        sop_class=class_name(row.sop_class_uid),
        sop_class_uid=row.sop_class_uid,
        transfer_syntax_uid=row.transfer_syntax_uid,
        study_instance_uid=row.study_instance_uid,
        series_instance_uid=row.series_instance_uid,
        modality=row.modality,
        body_part=row.body_part,
        view_position=row.view_position,
        view_code=row.view_code,
        patient_orientation=row.patient_orientation,
        views=list(all_views(row.view_position, row.view_code or "", row.patient_orientation or "")),
        age_years=row.age_years,
        burned_in=row.burned_in,
        quality_control=row.quality_control,
        derived=row.derived,
        state=row.state,
        reason=row.reason,
        calling_ae=row.calling_ae,
        called_ae=row.called_ae,
        received_at=row.received_at,
        identity_changed=row.identity_changed,
        replaced_by=row.replaced_by,
        backfilled=row.backfilled,
        manufacturer=row.manufacturer,
        model_name=row.model_name,
        station=row.station,
        probabilities=live.probabilities if live else None,
        flags=live.flags if live else None,
        prediction_set=live.prediction_set if live else None,
        unsure=live.unsure if live else None,
        bundle_digest=live.bundle_digest if live else None,
        engine=live.engine if live else None,
        scored_at=live.scored_at if live else None,
    )
