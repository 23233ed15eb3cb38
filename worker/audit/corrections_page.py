"""Films that came again as another patient's or study's, in the night's page."""

from collections.abc import Iterable
from typing import Any

from dicom_gateway.revision import spoken
from model.page import Html, paragraph, safe, table
from worker.audit.words import local, shown

MOST_LISTED = 200


def section(content: dict[str, Any]) -> Iterable[Html]:
    films = content["identity_changed"]
    if not films:
        yield paragraph("None.")
    else:
        yield paragraph(
            "The same SOP Instance UID came again, and an attribute says that it belongs to another patient, study or "
            "side. Both films were kept and scored; the newer one is in force. A score of the earlier film was given "
            "under the identity before: make sure that nobody uses it. 'xrayq instance show ID' has both."
        )
        rows = [
            (
                one["calling_ae"],
                str(one["id"]),
                local(one["received_at"], content),
                spoken(one["identity_changed"]),
                Html("<br>".join(safe(_told(earlier)) for earlier in one["earlier"])),
            )
            for one in films[:MOST_LISTED]
        ]
        yield table(
            ("sending AE", "instance", "received", "what changed", "earlier instances"),
            rows,
            caption="Films that came again with another identity",
        )
        if len(films) > MOST_LISTED:
            yield paragraph(f"And {len(films) - MOST_LISTED:,} more, in report.json.")
    if content["demographics_changed"]:
        counts = ", ".join(f"{ae} {shown(number)}" for ae, number in content["demographics_changed"].items())
        yield paragraph(
            f"Sent again with another name or sex of the same Patient ID, which is taken as a correction of the "
            f"patient's data: {counts}. These films were not scored again."
        )


def _told(earlier: dict[str, Any]) -> str:
    flags = f", flagged {', '.join(earlier['flags'])}" if earlier["flags"] else ""
    return f"{earlier['id']}: {earlier['state']}{flags}"
