"""An AE that sends films, beside what its own labelled films say of it: on this its results are sent, or are not."""

from sqlalchemy import Connection, Engine

from model.bundle import Bundle
from model.promotion.acceptance_rule import GO
from worker.alarms.ledger import open_alarms
from worker.db.session import snapshot
from worker.errors import ConfigurationError, NotAccepted, NotFound
from worker.monitoring.device_evidence import DeviceEvidence, device_evidence
from worker.reporting.acceptance import Device, DeviceState, find
from worker.setting_values import title
from worker.status.device_words import next_step


def evidence_of(engine: Engine, bundle: Bundle, calling_ae: str, *, margin: float) -> tuple[Device, DeviceEvidence]:
    """
    Args:
        bundle: the live one.
        margin: of the rule.

    Raises NotFound where the AE sent nothing.
    """
    with snapshot(engine) as connection:
        device = find(connection, calling_ae)
        if device.last_film is None:
            raise NotFound(f"no film of {calling_ae} has come; 'xrayq device list' shows who sends")
        return device, device_evidence(connection, bundle, calling_ae, margin=margin, silenced=device.silenced_at)


def must_be_go(device: Device, evidence: DeviceEvidence) -> None:
    """Raises NotAccepted unless it is a go."""
    if evidence.verdict != GO:
        name = device.calling_ae
        sent = f"; {name} stays accepted until 'xrayq device silence {name}'"
        raise NotAccepted(next_step(evidence) + (sent if device.state is DeviceState.ACCEPTED else ""))


def standing_alarms(connection: Connection, calling_ae: str) -> list[tuple[str, str]]:
    """Rule and subject of alarms that stand already and so do not silence the AE again: who accepts it shall know."""
    return [
        (rule, subject)
        for rule, subject in open_alarms(connection)
        if (rule == "drift" and subject == calling_ae) or rule == "performance"
    ]


def must_be_title(text: str) -> None:
    """Raises ConfigurationError."""
    try:
        title(text)
    except ValueError as error:
        raise ConfigurationError(f"AE {error}") from None
