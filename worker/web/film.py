"""The page of one film: what it is, what was said of it, what was sent, and its life from the audit trail."""

from collections.abc import Sequence
from dataclasses import dataclass

from starlette.responses import Response

from dicom_gateway.revision import spoken
from model.findings import SPOKEN, spoken_findings
from model.gate.reasons import REASONS
from worker.db.scores import FindingView, ScoreView
from worker.db.session import reading
from worker.dead_letters import in_words
from worker.instances import HistoryEvent, InstanceView, find, history, requeue, scores_of
from worker.monitoring.readings import HIDDEN, is_hidden
from worker.states import NOT_A_FILM, NOT_ADMITTED, OPERATOR, State
from worker.web.looks import looked
from worker.web.page import Ask, Page
from worker.web.people import WebRole
from worker.web.site import go_to

WIDTH = 200
"""Of a bar that shows 0..1, in its own units."""
ARRIVAL = ("received", "revision", "duplicate", "quarantined", "admitted", "film_viewed", "requeued")
"""Events that tell nothing of a score: all that a reader sees of a film that is to be labelled."""
OTHER_REASONS = {
    NOT_A_FILM: "it is no film: there is nothing to score",
    OPERATOR: "an operator took it out",
    NOT_ADMITTED: "an unknown peer sent it, and an operator rejected it",
}


@dataclass(frozen=True, kw_only=True)
class Bar:
    """One finding against its operating point, as places on a bar of WIDTH."""

    name: str
    finding: FindingView

    @property
    def probability(self) -> float:
        return self.finding.probability * WIDTH

    @property
    def interval(self) -> tuple[float, float] | None:
        """Begin and length."""
        if self.finding.interval is None:
            return None
        low, high = self.finding.interval
        return low * WIDTH, (high - low) * WIDTH

    @property
    def point(self) -> float | None:
        return None if self.finding.operating_point is None else self.finding.operating_point * WIDTH


def film(ask: Ask) -> Response:
    engine, key = ask.site.database, int(ask.path("id"))
    view = find(engine, str(key))[0]
    looked(engine, ask.actor, key)
    blind = _is_blind(ask, key)
    scores = [] if blind else scores_of(engine, key)
    return ask.site.page(
        "film.html",
        ask,
        film=view,
        blind=HIDDEN if blind else "",
        scores=[(score, _bars(score), _set_in_words(score)) for score in scores],
        why=_why(view),
        revisions=find(engine, view.sop_instance_uid),
        changed=spoken(view.identity_changed or ()),
        events=_events(history(engine, key), blind=blind),
        may_operate=ask.visit.person.role.includes(WebRole.OPERATOR),
        width=WIDTH,
        spoken=SPOKEN,
    )


def requeue_film(ask: Ask) -> Response:
    key = int(ask.path("id"))
    requeue(ask.site.database, key, ask.actor)
    return go_to(f"/film/{key}")


def _is_blind(ask: Ask, key: int) -> bool:
    """Whoever may label is a reader here."""
    person = ask.visit.person
    if not person.role.includes(WebRole.READER):
        return False
    with reading(ask.site.database) as connection:
        return is_hidden(connection, person.name, key)


def _events(events: Sequence[HistoryEvent], *, blind: bool) -> list[HistoryEvent]:
    return [event for event in events if not blind or event.action in ARRIVAL]


def _bars(score: ScoreView) -> list[Bar]:
    return [Bar(name=SPOKEN[name], finding=finding) for name, finding in score.findings.items()]


def _set_in_words(score: ScoreView) -> str:
    if score.prediction_set is None:
        return ""
    if not score.prediction_set:
        return "nothing: the film is unlike those it was calibrated on; unsure"
    return f"{spoken_findings(score.prediction_set)}{'; unsure' if score.unsure else ''}"


def _why(view: InstanceView) -> str:
    """Why there is no score, in words; "" where there is no reason."""
    if not view.reason:
        return ""
    if view.state == State.FAILED:
        return in_words(view.reason, view.id)
    return REASONS.get(view.reason) or OTHER_REASONS.get(view.reason, view.reason)


PAGES = (
    Page(path="/film/{id:int}", least=WebRole.VIEWER, answer=film),
    Page(path="/film/{id:int}/requeue", least=WebRole.OPERATOR, answer=requeue_film, method="POST"),
)
