"""Films of days before, in the night's page."""

from collections import defaultdict
from collections.abc import Iterable
from typing import Any

from markupsafe import Markup

from model.findings import SPOKEN
from model.pages.html import paragraph, table
from worker.nightly.page.words import shown

MOST_LISTED = 40


def section(content: dict[str, Any]) -> Iterable[Markup]:
    if not content["late"]:
        yield paragraph("None.")
        return
    groups: dict[tuple[str, str, str], list[int]] = defaultdict(list)
    for one in content["late"]:
        groups[one["calling_ae"], one["received_at"][:10], _what(one)].append(one["id"])
    yield paragraph("They waited or were requeued: the report of the day on which they came lacks what is told here.")
    yield table(
        ("sending AE", "received (UTC)", "now", "films", "instances"),
        [(ae, day, what, shown(len(ids)), _ids(ids)) for (ae, day, what), ids in sorted(groups.items())],
        caption="Ended on this day, received before it",
    )


def _what(one: dict[str, Any]) -> str:
    flags = ", ".join(SPOKEN.get(name, name) for name in one["flags"])
    return f"flagged: {flags}" if flags else " ".join(filter(None, (one["state"], one["reason"])))


def _ids(ids: list[int]) -> Markup:
    more = f" and {len(ids) - MOST_LISTED:,} more, in report.json" if len(ids) > MOST_LISTED else ""
    return Markup("<small>{}{}</small>").format(", ".join(map(str, ids[:MOST_LISTED])), more)
