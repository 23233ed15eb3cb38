"""report.html of a night: what a head of radiology reads first, then what an administrator looks up."""

from collections.abc import Iterable, Sequence
from typing import Any

from model.page import Html, figure, page, paragraph, safe, section, table
from worker.audit import figures
from worker.audit.figures import total

MOST_LISTED = 50


def render(content: dict[str, Any]) -> str:
    """The whole page; see `night.content`."""
    head = Html(
        f"<h1>Chest films of {safe(content['date'])}</h1>"
        f'<p class="quiet">Received from midnight to midnight, {safe(content["zone"])}; made '
        f"{safe(content['made_at'][:16].replace('T', ' '))} UTC.</p>"
    )
    body = [
        head,
        section("short", "In short", *_short(content)),
        section("senders", "Is every film accounted for?", *_senders(content)),
        section("day", "The day", figure(figures.day(content["hours"]), "Grey: received. Blue: of these, scored.")),
        section("flags", "Flagged films", *_flags(content)),
        section("failed", "Dead letters", *_failed(content)),
        section("force", "What scored", *_force(content)),
        section("chain", "The audit trail", *_chain(content)),
    ]
    return page(f"xrayq, {content['date']}", content["notice"], body)


def _short(content: dict[str, Any]) -> Iterable[Html]:
    senders, seconds = content["senders"], content["seconds"]
    received = sum(one["received"] for one in senders)
    tiles: list[tuple[str, object]] = [
        ("films received", received),
        ("scored", content["flags"]["scored"]),
        ("flagged", content["flags"]["flagged"]),
        ("dead letters", len(content["failed"])),
        ("not accounted for", content["difference"]),
        ("95 % scored within", f"{seconds['p95']:g} s" if seconds else "–"),
    ]
    shown = "".join(
        f'<div class="tile"><b>{safe(_shown(value))}</b><span>{safe(name)}</span></div>' for name, value in tiles
    )
    yield Html(f'<div class="tiles">{shown}</div>')
    for fault in faults(content):
        yield paragraph(fault, "bad")
    if not faults(content):
        yield paragraph("Every film is accounted for, and the audit trail is whole.")


def _shown(value: object) -> object:
    return f"{value:,}" if isinstance(value, int) else value


def faults(content: dict[str, Any]) -> list[str]:
    """What must not be overlooked, one sentence each; empty on a good day."""
    found = [
        f"{one['calling_ae']}: {abs(one['difference'])} of {one['received']} films received are not accounted for."
        for one in content["senders"]
        if one["difference"]
    ]
    found += [
        f"{one['calling_ae']}: {one['lost']} films wait for nobody, or are called scored and have no score."
        for one in content["senders"]
        if one["lost"] and not one["difference"]
    ]
    chain = content["chain"]
    if not chain["whole"]:
        found.append(f"The audit trail is broken after {chain['rows']} whole rows: {chain['fault']}.")
    return found


def _senders(content: dict[str, Any]) -> Iterable[Html]:
    senders = content["senders"]
    if not senders:
        yield paragraph("No film came on this day.")
        return
    rows = [
        (
            one["calling_ae"],
            _shown(one["received"]),
            _shown(one["scored"]),
            _by_reason(one["ineligible"]),
            _by_reason(one["failed"]),
            one["pending"],
            Html(f'<b class="bad">{one["difference"]}</b>') if one["difference"] else 0,
            one["duplicates"],
            one["revisions"],
        )
        for one in senders
    ]
    columns = ("sending AE", "received", "scored", "ineligible", "failed", "pending", "difference")
    yield table(
        (*columns, "sent again", "revisions"),
        rows,
        caption="received, by the audit trail = scored + ineligible + failed + pending, by the instances",
    )
    yield figure(figures.ends(senders), "What became of each sender's films.")


def _by_reason(reasons: dict[str, int]) -> Html:
    words = ", ".join(f"{safe(reason)} {count}" for reason, count in reasons.items())
    return Html(f"{total(reasons):,}" + (f" <small>({words})</small>" if words else ""))


def _flags(content: dict[str, Any]) -> Iterable[Html]:
    flags = content["flags"]
    if not content["flagged"]:
        yield paragraph("No film was flagged.")
        return
    words = ", ".join(f"{name} {count}" for name, count in sorted(flags["by_finding"].items()))
    yield paragraph(
        f"{flags['flagged']:,} of {flags['scored']:,} scored films: {words}. A film may have several flags."
    )
    yield _listed(
        ("instance", "sending AE", "flags"),
        [(one["id"], one["calling_ae"], ", ".join(one["flags"])) for one in content["flagged"]],
        "Flagged films; 'xrayq instance show ID' has everything about one",
    )


def _failed(content: dict[str, Any]) -> Iterable[Html]:
    if not content["failed"]:
        yield paragraph("None.")
        return
    yield _listed(
        ("instance", "sending AE", "reason"),
        [(one["id"], one["calling_ae"], one["reason"]) for one in content["failed"]],
        "'xrayq instance requeue ID' tries again, 'reject' takes one off the list",
    )


def _force(content: dict[str, Any]) -> Iterable[Html]:
    rows = [
        (one["bundle_digest"][:12], one["role"], one["engine"], one["software_version"], one["scores"])
        for one in content["in_force"]
    ]
    yield table(("bundle", "role", "engine", "xrayq", "scores"), rows, caption="Scores written on this day")
    if content["changes"]:
        changes = [(one["at"][:19], one["action"], one["actor"], _detail(one["detail"])) for one in content["changes"]]
        yield table(("time (UTC)", "change", "by", ""), changes, caption="Changes on this day")


def _detail(detail: dict[str, Any]) -> str:
    return ", ".join(f"{name} {str(value)[:12]}" for name, value in detail.items() if value is not None)


def _chain(content: dict[str, Any]) -> Iterable[Html]:
    chain = content["chain"]
    verdict = "whole" if chain["whole"] else f"broken: {chain['fault']}"
    beside = f", {chain['unchained']} beside it, by an older release or by hand" if chain["unchained"] else ""
    yield paragraph(f"{chain['rows']} rows, {verdict}{beside}. Its head at the end of this day:")
    yield Html(f"<pre>{safe(chain['anchor'] or 'nothing was audited yet')}</pre>")
    yield paragraph("Kept where nobody here can write, it proves later that nothing before it was changed.", "quiet")


def _listed(columns: Sequence[object], rows: list[tuple[object, ...]], caption: str) -> Html:
    more = f"; the first {MOST_LISTED} of {len(rows)}, instances.csv has all" if len(rows) > MOST_LISTED else ""
    return table(columns, rows[:MOST_LISTED], caption=caption + more)
