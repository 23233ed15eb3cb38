"""What a webhook and a mail say of a flagged film: which flags, our id, a link. No word of a patient.

Where a correction took the flags away, the same of those that were told, as withdrawn.

Not the Study Instance UID either: it leads to the patient in every PACS, and a mail is read on its way.
"""

import json
from dataclasses import asdict, dataclass

from dicom_gateway.report_words import NOTICE
from worker.reporting.adapters.adapter import Outgoing
from worker.reporting.telling import Telling


@dataclass(frozen=True, kw_only=True)
class FlagMessage:
    site: str
    instance: int
    """Our id; `xrayq instance show` has the rest."""
    flags: tuple[str, ...]
    """Findings whose flag is up, or was up where it is withdrawn; those alone that are told."""
    withdrawn: bool
    """None of them is up: an earlier message told of them, and the film was corrected."""
    urgent: bool
    unsure: bool
    """The prediction set is not one finding."""
    corrected: bool
    """It was told of an earlier film under the same UID, which this one replaces."""
    scored_at: str
    """ISO 8601, with the time zone."""
    link: str
    """"" where the settings name none."""

    def as_json(self) -> str:
        kind = "withdrawn_flag" if self.withdrawn else "flagged_film"
        return json.dumps({"type": kind} | asdict(self) | {"notice": NOTICE})


@dataclass(frozen=True, kw_only=True)
class FlagOptions:
    """From the settings."""

    telling: Telling
    site: str
    link: str
    """With {instance} in it, or ""."""


def flag_message(outgoing: Outgoing, options: FlagOptions) -> FlagMessage:
    result, instance = outgoing.result, outgoing.waits.instance
    flags = options.telling.told([found.name for found in result.findings if found.flag])
    withdrawn = not flags
    flags = flags or options.telling.told(outgoing.told)
    return FlagMessage(
        site=options.site,
        instance=instance,
        flags=flags,
        withdrawn=withdrawn,
        urgent=options.telling.is_urgent(flags),
        unsure=result.unsure,
        corrected=outgoing.corrects,
        scored_at=result.at.isoformat(timespec="seconds"),
        link=options.link.replace("{instance}", str(instance)),
    )
