"""A film's result, read from database and spool: the value that the objects are made of."""

from collections.abc import Sequence
from dataclasses import dataclass, fields
from datetime import datetime, tzinfo
from pathlib import Path
from typing import Any

from pydicom import dcmread
from pydicom.errors import InvalidDicomError
from sqlalchemy import Connection, Row, select

from dicom_gateway.result import Algorithm, FilmResult, FindingResult, Found, NotAnalysed, SentBefore
from dicom_gateway.spool import Spool
from dicom_gateway.views import VIEWS, all_views
from model.digest import file_digest
from model.gate.reasons import REASONS
from worker.audit import score_check
from worker.db.scores import FindingView, ScoreView, of_instance
from worker.db.tables import instance, perhaps_sent, sent_object
from worker.errors import Undelivered
from worker.reporting.faults import FILM_ALTERED, FILM_MISSING, NO_SCORE, SCORE_ALTERED
from worker.reporting.perhaps import ObjectName
from worker.reporting.revisions import before
from worker.reporting.told import last_told
from worker.reporting.waiting import WaitingResult
from worker.states import OPERATOR, State

DOCUMENTS = "1.2.840.10008.5.1.4.1.1.88."
"""Structured reports (PS3.4 B.5): these alone can have a predecessor."""
OBJECT_NAME = tuple(field.name for field in fields(ObjectName))
VIEW = "view"
"""The gate's reason for a view that is not scored."""


@dataclass(frozen=True, kw_only=True)
class FilmFacts:
    """What the database says of a film's result."""

    calling_ae: str
    film_digest: str
    revision: int
    at: datetime
    state: State
    reason: str
    views: tuple[str, ...]
    """That the header names, those alone that are known."""
    score: ScoreView | None
    replaces: tuple[SentBefore, ...]
    told_before: tuple[Found, ...]
    """See `FilmResult`."""


def facts(connection: Connection, of: WaitingResult) -> FilmFacts:
    """Raises Undelivered where there is no score of this bundle, though the film was analysed, or it is not the
    one that the audit trail tells of."""
    row = connection.execute(select(instance).where(instance.c.id == of.instance)).one_or_none()
    if row is None:
        raise Undelivered(NO_SCORE)
    scores = [score for score in of_instance(connection, row.id) if score.bundle_digest == of.bundle.digest]
    ineligible = row.state == State.INELIGIBLE
    if not (scores or ineligible):
        raise Undelivered(NO_SCORE)
    score = None if ineligible else scores[0]
    if score and score_check.of_film(connection, row.id, of.bundle.digest) not in score_check.GOOD:
        raise Undelivered(SCORE_ALTERED)
    return FilmFacts(
        calling_ae=row.calling_ae,
        film_digest=row.digest,
        revision=row.revision,
        at=score.scored_at if score else row.finished_at,
        state=State(row.state),
        reason=row.reason or "",
        views=tuple(view for view in _views(row) if view in VIEWS),
        score=score,
        replaces=_sent_of_earlier(connection, row),
        told_before=_told_of_earlier(connection, row, of.destination),
    )


def film_of(spool: Spool, digest: str) -> Path:
    """The film as it was received. Raises Undelivered where it is not there, or is another."""
    path = spool.path_of(digest)
    try:
        if file_digest(path) == digest:
            return path
    except FileNotFoundError:
        raise Undelivered(FILM_MISSING) from None
    except OSError:
        pass
    raise Undelivered(FILM_ALTERED)


def film_result(found: FilmFacts, film: Path, of: WaitingResult, zone: tzinfo) -> FilmResult:
    """
    Args:
        film: of `film_of`.
        zone: the site's, for a film that names none.

    Raises Undelivered where its header cannot be read.
    """
    try:
        header = dcmread(film, stop_before_pixels=True)
    except (OSError, InvalidDicomError, ValueError):
        raise Undelivered(FILM_ALTERED) from None
    score = found.score
    said = _of_score(score, found.views) if score else Found(not_analysed=_not_analysed(found.reason, found.views))
    return FilmResult(
        film=header,
        film_digest=found.film_digest,
        revision=found.revision,
        at=found.at.astimezone(zone),
        algorithm=Algorithm(
            name=of.bundle.name,
            version=of.bundle.version,
            bundle_digest=of.bundle.digest,
            software_version=score.software_version if score else of.software_version,
            engine=score.engine if score else "",
        ),
        findings=said.findings,
        prediction_set=said.prediction_set,
        notes=said.notes,
        not_analysed=said.not_analysed,
        replaces=found.replaces,
        told_before=found.told_before,
    )


def _of_score(score: ScoreView, views: Sequence[str] = ()) -> Found:
    return Found(
        findings=tuple(_finding(name, view) for name, view in score.findings.items()),
        prediction_set=None if score.prediction_set is None else tuple(score.prediction_set),
        notes=tuple(_not_analysed(code, views) for code in score.notes),
    )


def _finding(name: str, view: FindingView) -> FindingResult:
    return FindingResult(
        name=name,
        probability=view.probability,
        interval=view.interval,
        operating_point=view.operating_point,
        chosen_for=_chosen_for(view.operating_point_id or ""),
        flag=view.flag,
    )


def _chosen_for(point: str) -> str:
    """`covid19@sensitivity-0.95` in words; "" where the bundle does not say."""
    rate, _, value = point.partition("@")[2].rpartition("-")
    return f"{rate} at least {value}" if rate else ""


def _views(row: Row[Any]) -> tuple[str, ...]:
    return all_views(row.view_position, row.view_code or "", row.patient_orientation or "")


def _not_analysed(code: str, views: Sequence[str] = ()) -> NotAnalysed:
    words = "a person took the film out" if code == OPERATOR else REASONS.get(code, code)
    named = ", ".join(views) if code == VIEW else ""
    return NotAnalysed(code=code, meaning=f"{words[:1].upper()}{words[1:]}.", named=named)


def _sent_of_earlier(connection: Connection, row: Row[Any]) -> tuple[SentBefore, ...]:
    """Documents of the newest earlier revision of the same film of which any was sent, or may have arrived."""
    film = (instance.c.revision, instance.c.study_instance_uid)
    of_film = instance.c.id.in_(before(row.id))
    perhaps = select(*film, perhaps_sent.c.objects).join(perhaps_sent).where(of_film)
    took = select(*film, *(sent_object.c[name] for name in OBJECT_NAME)).join(sent_object).where(of_film)
    # What may have arrived is read first: the transaction that ends it writes what was taken.
    rows = [(revision, study, one) for revision, study, objects in connection.execute(perhaps) for one in objects]
    rows += [
        (revision, study, dict(zip(OBJECT_NAME, uids, strict=True)))
        for revision, study, *uids in connection.execute(took)
    ]
    documents = [found for found in rows if found[2]["sop_class_uid"].startswith(DOCUMENTS)]
    newest = max((revision for revision, _, _ in documents), default=0)
    named = {SentBefore(study_instance_uid=study, **one) for revision, study, one in documents if revision == newest}
    return tuple(sorted(named, key=lambda one: one.sop_instance_uid))


def _told_of_earlier(connection: Connection, row: Row[Any], destination: str) -> tuple[Found, ...]:
    """What messages to this destination said of the film's earlier revisions, and may stand there: see `last_told`.

    Of each revision as it stands now: where a person took the film out after it was told, its scores and the reason.
    """
    told = last_told(connection, before(row.id), destination)
    found: list[Found] = []
    for key in dict.fromkeys(key for key, _ in told):
        scores = [score for score in of_instance(connection, key) if (key, score.bundle_digest) in told]
        film = connection.execute(select(instance.c.state, instance.c.reason).where(instance.c.id == key)).one()
        taken_out = film.state == State.INELIGIBLE
        reasons = [Found(not_analysed=_not_analysed(film.reason or ""))] if taken_out else []
        found += [*map(_of_score, scores), *reasons]
    return tuple(found)
