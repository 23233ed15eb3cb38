"""A Snapshot as lines of text that fit a terminal, the most important first."""

from collections.abc import Sequence
from datetime import datetime, timedelta
from itertools import zip_longest
from textwrap import wrap
from zoneinfo import ZoneInfo

from rich.console import Group
from rich.text import Text

from dicom_gateway.errors import REFUSALS, in_hexadecimal
from worker.alarms.undelivered import Outage
from worker.receiving.refusals import Refused
from worker.status.queries import DatabaseContent, DeadLetter, LastHour, OpenAlarm, SenderToday, TurnedAway
from worker.status.snapshot import Process, Snapshot
from worker.words.printable import printable
from worker.words.sizes import size

NOTICE = "not a medical device"
BLOCKS, ASCII = "▁▂▃▄▅▆▇█", "_.-=oO@#"
LABEL = 12
ROOMY, WIDE = 32, 110
"""Rows from which sections stand apart; columns from which each minute of the hour has a column of its own."""
MOST_ROWS = 1000
LATE = timedelta(seconds=10)
"""Age of a look, then time a report is overdue, from which the view says so."""
REPORT_LATE = timedelta(minutes=10)
BAD, WARN, GOOD, QUIET, STRONG = "bold red", "yellow", "green", "dim", "bold"
COMMENTS = {in_hexadecimal(refusal.status): refusal.comment for refusal in REFUSALS}
NOT_LET_IN = {
    "CALLING_AE": "CALLING_AE: not in XRAYQ_CALLING_AES",
    "CALLED_AE": "CALLED_AE: called by another title than XRAYQ_AE_TITLE",
    "NO_REQUEST": "NO_REQUEST: no whole A-ASSOCIATE-RQ",
    "NO_PLACE": "NO_PLACE: too many peers asked",
}
"""Reasons that say what to look at; the others by their name."""
COLUMNS = (("received", 9), ("scored", 8), ("ineligible", 11), ("failed", 7), ("pending", 8), ("flagged", 8))


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
    processes = [line for one in snapshot.processes for line in _process(one, width)]
    if not snapshot.stored:
        return _group([title, processes, [_line("database", Text(snapshot.database, BAD))], [_spool(snapshot)]], width)
    stored = snapshot.stored
    outages = [line for one in stored.outages for line in _outage(one, snapshot.at, zone, width)]
    lists = (
        [_alarm(one, snapshot.at, zone) for one in stored.alarms],
        [_sender(one, snapshot.at, zone) for one in stored.senders if one.received],
        [_dead_letter(one, snapshot.at, zone) for one in stored.dead_letters],
        [_film_refused(one) for one in stored.films_refused],
        [_not_let_in(one) for one in stored.not_let_in],
        [_refused(one) for one in stored.refused],
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
            [*processes, _films(snapshot, stored), _spool(snapshot), _alarms(stored), *alarms, *outages],
            [
                _columns(),
                *senders,
                _total(stored.senders),
                *_others(stored.senders),
                *_number("refused", sum(one.number for one in stored.films_refused), "C-STORE"),
                *films,
                *_number("not let in", sum(one.number for one in stored.not_let_in), "association"),
                *peers,
                *_number("not accepted", sum(one.contexts for one in stored.refused), "presentation context", QUIET),
                *contexts,
            ],
            _hour(stored.hour, 60 if width >= WIDE else 30, ASCII if ascii_ else BLOCKS),
            [_failed(stored), *dead_letters],
            [_bundle(stored), *_shadows(stored), _nightly(stored, snapshot.at, zone)],
        ]

    fixed = sum(len(one) for one in sections([], [], [], [], [], []))
    apart = not height or height >= ROOMY
    room = height - fixed - (5 if apart else 0) if height else MOST_ROWS
    wanted = [len(rows) + (more > 0) for rows, more in zip(lists, extra, strict=True)]
    shares = share(room, wanted[:-1])
    shares += share(room - sum(shares), wanted[-1:])  # contexts have what nothing else wants
    cut = [_cut(rows, rows_shown, more) for rows, rows_shown, more in zip(lists, shares, extra, strict=True)]
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


def steps(films: Sequence[int], columns: int) -> list[int]:
    """Films a minute as films of each column of a line."""
    step = len(films) // columns
    return [sum(films[start : start + step]) for start in range(0, len(films), step)]


def sparkline(films: Sequence[int], most: int, marks: str = BLOCKS) -> str:
    """One character for each, the highest for `most`; blank where there is none."""
    return "".join(marks[(len(marks) - 1) * one // most] if one else " " for one in films)


def span(seconds: float) -> str:
    """A time span in its two largest units."""
    if seconds < 60:
        return f"{seconds:.0f} s"
    if seconds < 3600:
        return f"{seconds // 60:.0f} min {seconds % 60:.0f} s"
    if seconds < 172_800:
        return f"{seconds // 3600:.0f} h {seconds % 3600 // 60:.0f} min"
    return f"{seconds // 86_400:.0f} days"


def _title(snapshot: Snapshot, now: datetime, zone: ZoneInfo, site: str, *, live: bool) -> Text:
    there, age = snapshot.at.astimezone(zone), now - snapshot.at
    text = Text.assemble(("xrayq", STRONG), f" {site}" if site else "", "  ")
    text.append(f"{there:%H:%M:%S}" if live else f"{there:%Y-%m-%d %H:%M:%S}").append(f" {zone.key}", QUIET)
    if age > LATE:
        text.append(f", {span(age.total_seconds())} ago: looking takes long", BAD)
    return text.append(f"  {NOTICE}{'  q leaves' if live else ''}", QUIET)


def _verdict(snapshot: Snapshot, width: int) -> list[Text]:
    if not snapshot.faults and not snapshot.remarks:
        return [Text("All is well.", f"{STRONG} {GOOD}")]
    said = "; ".join((*snapshot.faults, *snapshot.remarks))
    head, style = ("NOT WELL  ", BAD) if snapshot.faults else ("No fault  ", f"{STRONG} {WARN}")
    lines = wrap(f"{head}{said}", width, subsequent_indent=" " * len(head), break_on_hyphens=False)
    return [Text(line, style) for line in lines]


def _process(one: Process, width: int) -> list[Text]:
    """Several lines where it is not ready and what to do is long."""
    style = {True: GOOD, False: BAD, None: QUIET}[one.ready]
    lines = [Text(line, style) for line in _wrapped("ready" if one.ready else one.text, width)]
    lines += [Text(line, BAD) for line in _wrapped(one.trouble, width)]
    return [_line("" if number else one.role, line) for number, line in enumerate(lines)]


def _wrapped(text: str, width: int) -> list[str]:
    """As lines beside a label."""
    return wrap(text, max(20, width - LABEL - 1), break_on_hyphens=False)


def _films(snapshot: Snapshot, stored: DatabaseContent) -> Text:
    waiting = stored.waiting
    text = Text(f"{waiting.films:,} waiting, {waiting.leased:,} of them leased")
    if waiting.oldest_at:
        late = BAD if waiting.oldest_seconds > snapshot.backlog_seconds else ""
        text.append(", oldest ").append(span(waiting.oldest_seconds), late)
    if waiting.ahead:
        text.append(f", {waiting.ahead:,} of them came in the future", BAD)
    return _line("films", text)


def _spool(snapshot: Snapshot) -> Text:
    free, reserve = snapshot.spool.free, snapshot.spool.reserve
    if free is None:
        return _line("spool", Text("is not there", BAD))
    return _line("spool", Text(f"{size(free)} free, reserve {size(reserve)}", BAD if free < reserve else ""))


def _alarms(stored: DatabaseContent) -> Text:
    known = sum(one.acknowledged is not None for one in stored.alarms)
    number = len(stored.alarms) - known
    text = Text(f"{number} open", BAD) if number else Text("none open", GOOD)
    return _line("alarms", text.append(f", {known} acknowledged", QUIET) if known else text)


def _alarm(one: OpenAlarm, now: datetime, zone: ZoneInfo) -> Text:
    clock, subject = f"{_clock(one.raised_at, now, zone):<11}", f"{one.subject}  " if one.subject else ""
    if one.acknowledged:
        known = f"acknowledged: {one.acknowledged['why']} ({one.acknowledged['by']})"
        return Text(f"  {clock}  {subject}{known}", QUIET)
    return Text.assemble("  ", (clock, QUIET), f"  {subject}{one.text}")


def _outage(one: Outage, now: datetime, zone: ZoneInfo, width: int) -> list[Text]:
    words = []
    if one.next_at:
        again = f"tried up to {one.attempts} times" if one.attempts > 1 else "tried once"
        words.append(f"{_messages(one.failing)} did not arrive, {again}, next try {_clock(one.next_at, now, zone)}")
    if one.given_up_at:
        last = f"the last {_clock(one.given_up_at, now, zone)}" if one.given_up > 1 else "at "
        last = _clock(one.given_up_at, now, zone)
        words.append(f"{_messages(one.given_up)} given up, the last {last}: {one.why}")
    lines = _wrapped("; ".join(words) + ". First: xrayq alarm test", width)
    return [_line("" if number else one.channel, Text(line, BAD)) for number, line in enumerate(lines)]


def _messages(number: int) -> str:
    return f"{number:,} {'message' if number == 1 else 'messages'}"


def _columns() -> Text:
    heads = "".join(f"{name:>{wide}}" for name, wide in COLUMNS)
    return Text(f"{'today':<18}{heads}  last film", STRONG)


def _sender(one: SenderToday, now: datetime, zone: ZoneInfo) -> Text:
    return _counts(f"  {one.calling_ae}", [one]).append(f"  {_clock(one.last_at, now, zone)}", QUIET)


def _total(senders: Sequence[SenderToday]) -> Text:
    return _counts("  all" if any(one.received for one in senders) else "  no film yet", senders)


def _others(senders: Sequence[SenderToday]) -> list[Text]:
    number = sum(one.other for one in senders)
    objects = "object that is no film" if number == 1 else "objects that are no films"
    return [Text(f"  beside them {number:,} {objects}", QUIET)] if number else []


def _counts(name: str, senders: Sequence[SenderToday]) -> Text:
    text = Text(f"{name:<18}")
    for column, wide in COLUMNS:
        films = sum(getattr(one, column) for one in senders)
        text.append(f"{films:>{wide},}", BAD if films and column == "failed" else "" if films else QUIET)
    return text


def _number(label: str, number: int, what: str, style: str = WARN) -> list[Text]:
    """Of today; nothing where none was turned away."""
    return [_line(label, Text(f"{number:,} {what}{'s' * (number > 1)} today", style))] if number else []


def _film_refused(one: TurnedAway) -> Text:
    return _turned_away(one, [f"{number:,} x {code} {COMMENTS.get(code, '')}" for code, number in one.codes.items()])


def _not_let_in(one: TurnedAway) -> Text:
    return _turned_away(one, [f"{number:,} x {NOT_LET_IN.get(code, code)}" for code, number in one.codes.items()])


def _turned_away(one: TurnedAway, words: list[str]) -> Text:
    return Text.assemble(f"  {one.calling_ae:<16}", (f"  {', '.join(word.strip() for word in words)}", QUIET))


def _refused(one: Refused) -> Text:
    named = ", ".join(f"{name} {number:,}" for name, number in one.sop_classes.items())
    return Text.assemble(f"  {one.calling_ae:<16}", (f"  {named}", QUIET))


def _hour(hour: LastHour, columns: int, marks: str) -> list[Text]:
    """Both on one scale: films that come and do not go are seen."""
    came, went = steps(hour.received, columns), steps(hour.ended, columns)
    most = max(*came, *went)
    received, ended = (
        _line(name, Text.assemble((sparkline(films, most, marks), "cyan"), f"  {sum(films):,}"))
        for name, films in (("hour in", came), ("hour out", went))
    )
    received.append(f", at most {max(hour.received):,} a minute")
    if hour.p50 is not None and hour.p95 is not None:
        ended.append(f", p50 {_seconds(hour.p50)}, p95 {_seconds(hour.p95)}")
    return [received, ended]


def _seconds(value: float) -> str:
    return f"{value:.1f} s" if value < 60 else span(value)


def _failed(stored: DatabaseContent) -> Text:
    return _line("dead letters", Text(f"{stored.failed:,}", BAD if stored.failed else GOOD))


def _dead_letter(one: DeadLetter, now: datetime, zone: ZoneInfo) -> Text:
    clock = f"{_clock(one.received_at, now, zone):<11}"
    return Text.assemble("  ", (clock, QUIET), f"  {one.id:>8}  {one.calling_ae:<16}  ", (one.reason, "red"))


def _bundle(stored: DatabaseContent) -> Text:
    service = stored.service
    return _line("bundle", Text(f"{service.bundle}, {service.engine or 'nothing scored yet'}"))


def _shadows(stored: DatabaseContent) -> list[Text]:
    return [_line("shadows", Text(", ".join(stored.service.shadows)))] if stored.service.shadows else []


def _nightly(stored: DatabaseContent, now: datetime, zone: ZoneInfo) -> Text:
    nightly = stored.nightly
    made = f"of {nightly.day} made {_clock(nightly.made_at, now, zone)}" if nightly.made_at else "none made yet"
    if nightly.due_at is None:
        return _line("report", Text(f"{made}, none is due"))
    when = _clock(nightly.due_at, now, zone)
    tries = f"failed {nightly.failed} time{'s' * (nightly.failed > 1)}"
    due = f"that of {nightly.due_day} {tries}, next try {when}" if nightly.failed else f"next due {when}"
    late = nightly.failed > 0 or nightly.due_at < now - REPORT_LATE
    return _line("report", Text.assemble(f"{made}, ", (due, BAD if late else "")))


def _clock(at: datetime, now: datetime, zone: ZoneInfo) -> str:
    """Eleven characters at most: the time of day, with the date where it is another one."""
    there = at.astimezone(zone)
    return f"{there:%H:%M:%S}" if there.date() == now.astimezone(zone).date() else f"{there:%m-%d %H:%M}"


def _line(label: str, text: Text) -> Text:
    return Text.assemble((f"{label:<{LABEL}}", STRONG), " ", text)


def _cut(rows: list[Text], shown: int, more: int) -> list[Text]:
    """The first rows, the last one saying how many are left out."""
    if shown >= len(rows) + (more > 0) and not more:
        return rows
    if shown == 0:
        return []
    left = rows[: shown - 1]
    return [*left, Text(f"  and {len(rows) + more - len(left):,} more", QUIET)]


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
