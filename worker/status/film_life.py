"""What the audit trail says of one film, in words: for `xrayq instance show` and the page of a film."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from dicom_gateway.notes import NOTES
from dicom_gateway.revision import spoken
from model.gate.reasons import REASONS
from worker.audit.actions import Action
from worker.dead_letters import OF_PIXELS, OF_SERVICE
from worker.instances import HistoryEvent
from worker.reporting.faults import in_words
from worker.states import DUPLICATE, NOT_A_FILM, NOT_ADMITTED, OPERATOR, REPLACED

RESULTS = (
    Action.RESULT_SENT,
    Action.RESULT_CONFIRMED,
    Action.RESULT_UNDELIVERED,
    Action.RESULT_UNCONFIRMED,
    Action.RESULT_RESENT,
)
"""Events that name destinations, and some of them a reason."""
HAPPENED: dict[str, str] = {
    Action.RECEIVED: "It came",
    Action.REVISION: "It came, as another revision of a film that was here",
    Action.DUPLICATE: "The same film came once more",
    Action.QUARANTINED: "Put into quarantine: its sender is not known",
    Action.ADMITTED: "Let out of the quarantine",
    Action.SCORED: "Scored",
    Action.SHADOW_SCORED: "Scored by a shadow too",
    Action.REPORTED: "Every destination has its result",
    Action.INELIGIBLE: "Not scored",
    Action.FAILED: "It could not be scored: a dead letter",
    Action.REQUEUED: "Sent back to work",
    Action.REJECTED: "Taken out by a person",
    Action.RESULT_SENT: "Its result was sent",
    Action.RESULT_CONFIRMED: "The destination says that it holds the result",
    Action.RESULT_UNCONFIRMED: "Given up: the destination did not say that it holds the result",
    Action.RESULT_UNDELIVERED: "Given up: the result did not arrive",
    Action.RESULT_RESENT: "Its result is sent again",
    Action.LABELLED: "Labelled",
    Action.FILM_VIEWED: "Looked at",
}
NOT_SCORED: dict[str, str] = REASONS | {
    NOT_A_FILM: "it is no film: there is nothing to score",
    OPERATOR: "an operator took it out",
    NOT_ADMITTED: "an unknown peer sent it, and an operator rejected it",
    DUPLICATE: "the same film is here already",
    REPLACED: "a newer one under its UID is here already",
}
"""Why a film is ineligible, by its reason."""


@dataclass(frozen=True, kw_only=True)
class Line:
    """What the detail of an event says."""

    text: str
    warns: bool = False
    """It says that a film became another patient's, study's or side's."""


def happened(event: HistoryEvent) -> str:
    """The event in a sentence."""
    return HAPPENED.get(event.action) or event.action.replace("_", " ").capitalize()


def why_not_scored(reason: str) -> str:
    """What the reason of a film that is ineligible or failed means; "" for none."""
    of_failed = OF_SERVICE[reason][0] if reason in OF_SERVICE else OF_PIXELS.get(reason)
    return NOT_SCORED.get(reason) or of_failed or reason.replace("_", " ")


def lines_of(event: HistoryEvent) -> Iterator[Line]:
    """What the event's detail says."""
    detail = event.detail
    for code in detail.get("display", ()):
        yield Line(text=f"shown with {code}: {NOTES.get(code, 'unknown here')}")
    if event.action in RESULTS:
        where = detail.get("destination") or ", ".join(detail.get("destinations", ()))
        if said := ": ".join(filter(None, (where, _why(detail)))):
            yield Line(text=said)
    if measured := detail.get("measured"):
        yield Line(text=f"the gate measured: {plain_text(measured)}")
    if notes := detail.get("notes"):
        yield Line(text=f"scored in spite of: {plain_text(notes)}")
    if identity := detail.get("identity_changed"):
        yield Line(text=f"differs from instance {detail['before']} in: {spoken(identity)}", warns=True)
    if others := [keyword for keyword in detail.get("changed", ()) if keyword not in (identity or ())]:
        yield Line(text=f"differs from instance {detail['before']} {'also ' if identity else ''}in: {spoken(others)}")
    if corrected := detail.get("demographics_changed"):
        yield Line(text=f"of the same Patient ID, corrected: {spoken(corrected)}")


def plain_text(value: object) -> str:
    """A value of a detail, without the marks of JSON."""
    if isinstance(value, dict):
        return "  ".join(f"{key} {number:.4f}" for key, number in value.items())
    if isinstance(value, list):
        return ", ".join(map(str, value)) or "none"
    return "-" if value is None or value == "" else str(value)


def _why(detail: Mapping[str, Any]) -> str:
    newer = f" (instance {detail['replaced_by']})" if "replaced_by" in detail else ""
    return f"{in_words(detail['reason'])}{newer}" if detail.get("reason") else ""
