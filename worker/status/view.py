"""A Snapshot as lines of text that fit a terminal, the most important first."""

from collections.abc import Sequence
from datetime import datetime, timedelta
from itertools import zip_longest
from textwrap import wrap
from zoneinfo import ZoneInfo

from rich.console import Group
from rich.text import Text

from model.notice import NOT_A_DEVICE
from worker.status.snapshot import Snapshot
from worker.status.view_films import (
    columns_line,
    contexts_line,
    dead_letter_line,
    dead_letters_line,
    film_refused_line,
    hour_lines,
    not_let_in_line,
    other_objects_lines,
    quarantine_lines,
    sender_line,
    total_line,
    turned_away_lines,
    waiting_line,
)
from worker.status.view_text import ASCII, BAD, BLOCKS, GOOD, QUIET, STRONG, WARN, duration, with_label
from worker.status.view_upkeep import (
    alarm_line,
    alarms_line,
    backfill_lines,
    bundle_line,
    certificate_lines,
    outage_lines,
    process_lines,
    report_line,
    repository_lines,
    result_outage_lines,
    shadows_lines,
    spool_line,
)
from worker.words import printable

ROOMY, WIDE = 32, 110
"""Rows from which sections stand apart; columns from which each minute of the hour has a column of its own."""
MOST_ROWS = 1000
NAMES = ("alarm", "sender", "failed film", "AE", "AE", "AE")
"""What a row of each list is."""
LATE = timedelta(seconds=10)
"""Age of a look from which the view says so."""


def page(
    snapshot: Snapshot, *, now: datetime, zone: ZoneInfo, site: str, width: int, height: int = 0, ascii_: bool = False
) -> Group:
    """The whole view.

    Args:
        now: later than the snapshot where the next one is late.
        width, height: of the terminal, columns and rows; height 0 shows every row of every list.
        ascii_: the terminal knows no block characters.
    """
    title = [_title(snapshot, now, zone, site, live=height > 0), *_verdict(snapshot, width)]
    processes = [line for process in snapshot.processes for line in process_lines(process, width)]
    if not snapshot.stored:
        return _group(
            [title, processes, [with_label("database", Text(snapshot.database, BAD))], [spool_line(snapshot)]], width
        )
    stored = snapshot.stored
    outages = [line for outage in stored.outages for line in outage_lines(outage, snapshot.at, zone, width)]
    outages += [line for out in stored.result_outages for line in result_outage_lines(out, snapshot.at, zone, width)]
    beside = [
        *repository_lines(stored, snapshot.at, zone, width),
        *backfill_lines(stored, snapshot.at, zone, width),
        *certificate_lines(snapshot),
    ]
    lists = (
        [alarm_line(alarm, snapshot.at, zone) for alarm in stored.alarms],
        [sender_line(sender, snapshot.at, zone, width) for sender in stored.senders if sender.received],
        [dead_letter_line(film, snapshot.at, zone) for film in stored.dead_letters],
        [film_refused_line(peer) for peer in stored.films_refused],
        [not_let_in_line(peer) for peer in stored.not_let_in],
        [contexts_line(peer) for peer in stored.refused],
    )
    extra = (0, 0, stored.failed - len(stored.dead_letters), 0, 0, 0)

    def sections(
        alarms: list[Text],
        senders: list[Text],
        dead_letters: list[Text],
        films: list[Text],
        peers: list[Text],
        contexts: list[Text],
    ) -> list[list[Text]]:
        return [
            title,
            [
                *processes,
                waiting_line(snapshot, stored),
                *quarantine_lines(stored),
                spool_line(snapshot),
                alarms_line(stored),
                *alarms,
                *outages,
            ],
            [
                columns_line(width),
                *senders,
                total_line(stored.senders),
                *other_objects_lines(stored.senders),
                *turned_away_lines("refused", sum(peer.number for peer in stored.films_refused), "C-STORE"),
                *films,
                *turned_away_lines("not let in", sum(peer.number for peer in stored.not_let_in), "association"),
                *peers,
                *turned_away_lines(
                    "not accepted", sum(peer.contexts for peer in stored.refused), "presentation context", QUIET
                ),
                *contexts,
            ],
            hour_lines(stored.hour, 60 if width >= WIDE else 30, ASCII if ascii_ else BLOCKS),
            [dead_letters_line(stored), *dead_letters],
            [bundle_line(stored), *shadows_lines(stored), report_line(stored, snapshot.at, zone), *beside],
        ]

    fixed = sum(len(section) for section in sections([], [], [], [], [], []))
    apart = not height or height >= ROOMY
    room = height - fixed - (5 if apart else 0) if height else MOST_ROWS
    wanted = [len(rows) + (more > 0) for rows, more in zip(lists, extra, strict=True)]
    shares = share(room, wanted[:-1])
    shares += share(room - sum(shares), wanted[-1:])  # contexts have what nothing else wants
    cut = [_cut(*one) for one in zip(lists, shares, extra, NAMES, strict=True)]
    return _group(sections(*cut), width, apart=apart)


def share(room: int, wanted: Sequence[int]) -> list[int]:
    """Rows for each list, one at a time in turn, until there is no room or no wish."""
    given = [0] * len(wanted)
    while room > 0 and given != list(wanted):
        for place, wish in enumerate(wanted):
            if given[place] < wish and room > 0:
                given[place] += 1
                room -= 1
    return given


def _title(snapshot: Snapshot, now: datetime, zone: ZoneInfo, site: str, *, live: bool) -> Text:
    there, age = snapshot.at.astimezone(zone), now - snapshot.at
    text = Text.assemble(("xrayq", STRONG), f" {site}" if site else "", "  ")
    text.append(f"{there:%H:%M:%S}" if live else f"{there:%Y-%m-%d %H:%M:%S}").append(f" {zone.key}", QUIET)
    if age > LATE:
        text.append(f", {duration(age.total_seconds())} ago: looking takes long", BAD)
    return text.append(f"  {NOT_A_DEVICE}{'  q leaves' if live else ''}", QUIET)


def _verdict(snapshot: Snapshot, width: int) -> list[Text]:
    if not snapshot.faults and not snapshot.remarks:
        return [Text("All is well.", f"{STRONG} {GOOD}")]
    faults_and_remarks = "; ".join((*snapshot.faults, *snapshot.remarks))
    head, style = ("NOT WELL  ", BAD) if snapshot.faults else ("No fault  ", f"{STRONG} {WARN}")
    lines = wrap(f"{head}{faults_and_remarks}", width, subsequent_indent=" " * len(head), break_on_hyphens=False)
    return [Text(line, style) for line in lines]


def _cut(rows: list[Text], shown: int, more: int, name: str) -> list[Text]:
    """The first rows, the last one saying how many of what are left out."""
    if shown >= len(rows) + (more > 0) and not more:
        return rows
    if shown == 0:
        return []
    left = rows[: shown - 1]
    hidden = len(rows) + more - len(left)
    return [*left, Text(f"  {hidden:,} more {name}{'s' * (hidden > 1)}", QUIET)]


def _group(sections: list[list[Text]], width: int, *, apart: bool = True) -> Group:
    """One line for each Text, cut at the terminal's edge, with an empty line between sections where there is room."""
    lines: list[Text] = []
    for section, following in zip_longest(sections, sections[1:]):
        for text in section:
            text.plain = printable(text.plain)
            text.truncate(width, overflow="ellipsis")
            lines.append(text)
        if apart and following:
            lines.append(Text())
    return Group(*lines)
