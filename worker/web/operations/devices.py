"""One AE, what its own labelled films say of it, and whether its results are sent."""

from starlette.responses import Response

from model.findings import SPOKEN
from model.promotion.acceptance_rule import GO
from worker.db.session import reading
from worker.errors import ConfigurationError, NotFound, WorkerError
from worker.monitoring.device_evidence import DeviceEvidence
from worker.reporting.acceptance import MOST_CHARACTERS, DeviceState, accept, find, silence
from worker.status.device_words import kept_lines, lacking, left_out, next_step
from worker.status.devices import evidence_of, must_be_go, must_be_title, standing_alarms
from worker.web.operations import parts
from worker.web.page import Ask, Page
from worker.web.people import WebRole
from worker.web.site import go_to


def device(ask: Ask) -> Response:
    """What is known of it."""
    return _page(ask, ask.query("ae"))


def confirm(ask: Ask) -> Response:
    """The evidence, and what would be done."""
    return _page(ask, ask.query("ae"), doing=_verdict(ask))


def decide(ask: Ask) -> Response:
    """Its results are sent from now on, or not any more."""
    title, reason, verdict = ask.form.get("ae", ""), ask.form.get("reason", ""), _verdict(ask)
    try:
        must_be_title(title)
        if verdict == "silence":
            silence(ask.site.database, title, reason=reason, actor=ask.actor)
        else:
            _accept(ask, title, reason)
    except WorkerError as error:
        return _page(ask, title, doing=verdict, error=error)
    parts.of(ask).changed()
    return go_to("/operations/peers#devices")


def _accept(ask: Ask, title: str, reason: str) -> None:
    evidence = None
    if ask.form.get("on") == "evidence":
        operations = parts.of(ask)
        known, evidence = evidence_of(
            ask.site.database, operations.live_bundle(), title, margin=operations.options.margin
        )
        must_be_go(known, evidence)
    elif not reason.strip():
        raise ConfigurationError("without evidence it needs a reason, which the audit trail keeps")
    accept(ask.site.database, title, reason=reason.strip(), actor=ask.actor, evidence=evidence)


def _page(ask: Ask, title: str, *, doing: str = "", error: WorkerError | None = None) -> Response:
    operations = parts.of(ask)
    with reading(ask.site.database) as connection:
        known, live = find(connection, title), operations.live(connection)
        alarms = standing_alarms(connection, title)
    if known.last_film is None and known.changed_at is None:
        raise NotFound("No film of this AE has come. The page of peers shows who sends.")
    evidence, why_none = _evidence(ask, title)
    return ask.site.page(
        "operations_device.html",
        ask,
        status=parts.status_of(error) if error else 200,
        wrong=str(error or ""),
        doing=doing,
        device=known,
        accepted=known.state is DeviceState.ACCEPTED,
        kept=kept_lines(known, live.digest if live else ""),
        destinations=[destination.name for destination in operations.options.routes.of(title)],
        alarms=alarms,
        evidence=evidence,
        why_none=why_none,
        go=evidence is not None and evidence.verdict == GO,
        next_step=next_step(evidence) if evidence else "",
        left_out=left_out(evidence) if evidence else [],
        lacking=lacking,
        spoken=SPOKEN,
        reason=ask.form.get("reason", ""),
        most=MOST_CHARACTERS,
    )


def _evidence(ask: Ask, title: str) -> tuple[DeviceEvidence | None, str]:
    """And why there is none."""
    operations = parts.of(ask)
    try:
        bundle, margin = operations.live_bundle(), operations.options.margin
        return evidence_of(ask.site.database, bundle, title, margin=margin)[1], ""
    except WorkerError as error:
        return None, str(error)


def _verdict(ask: Ask) -> str:
    if ask.path("verdict") not in ("accept", "silence"):
        raise NotFound("An AE can be accepted or silenced.")
    return ask.path("verdict")


PAGES = (
    Page(path="/operations/peers/device", least=WebRole.VIEWER, answer=device),
    Page(path="/operations/peers/device/{verdict}", least=WebRole.ADMIN, answer=confirm),
    Page(path="/operations/peers/device/{verdict}", method="POST", least=WebRole.ADMIN, answer=decide),
)
