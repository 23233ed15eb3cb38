"""Lines of the view about films: waiting, today by sender, turned away, the last hour, dead letters."""

from collections.abc import Sequence
from datetime import datetime
from zoneinfo import ZoneInfo

from rich.text import Text

from dicom_gateway.errors import REFUSALS, in_hexadecimal
from worker.receiving.refusals import Refused
from worker.status.flow import LastHour, ShownDeadLetter
from worker.status.queries import DatabaseContent
from worker.status.senders import SenderToday, TurnedAway
from worker.status.snapshot import Snapshot
from worker.status.view_text import BAD, GOOD, QUIET, STRONG, WARN, duration, short_time, sparkline, steps, with_label
from worker.words import counted

COMMENTS = {in_hexadecimal(refusal.status): refusal.comment for refusal in REFUSALS}
NOT_LET_IN = {
    "CALLING_AE": "CALLING_AE: not in XRAYQ_CALLING_AES",
    "CALLED_AE": "CALLED_AE: called by another title than XRAYQ_AE_TITLE",
    "UNKNOWN_AE": "UNKNOWN_AE: no peer, and XRAYQ_UNKNOWN_PEERS is reject",
    "UNKNOWN_ADDRESS": "UNKNOWN_ADDRESS: a peer's title, from another address",
    "UNKNOWN_CERTIFICATE": "UNKNOWN_CERTIFICATE: a peer's title and address, with another certificate",
    "PEER_LIMIT": "PEER_LIMIT: more associations than its row of 'xrayq peer list' allows",
    "UNKNOWN_LIMIT": "UNKNOWN_LIMIT: unknown peers had as many associations as XRAYQ_UNKNOWN_SHARE allows",
    "NO_REQUEST": "NO_REQUEST: no whole A-ASSOCIATE-RQ",
    "NO_PLACE": "NO_PLACE: too many peers asked",
    "NO_TLS": "NO_TLS: the handshake failed, the gateway's log says why",
    "NOT_PROVEN": "NOT_PROVEN: by web, without a token or certificate that lets it in",
    "NO_RIGHT": "NO_RIGHT: by web, and its row of 'xrayq peer list' does not let it store",
}
"""Reasons that say what to look at; the others by their name."""
COLUMNS = (
    ("received", "received", 8),
    ("scored", "scored", 7),
    ("ineligible", "ineligible", 11),
    ("failed", "failed", 7),
    ("waiting", "pending", 8),
    ("flagged", "flagged", 8),
    ("unsure", "unsure", 7),
)
"""Heading, count of SenderToday, columns."""
NAMED_SENDERS = 3
"""Of those in quarantine."""
SECONDS_FROM = 88
"""Columns of a terminal from which the time of a sender's last film has seconds."""


def waiting_line(snapshot: Snapshot, stored: DatabaseContent) -> Text:
    waiting = stored.waiting
    text = Text(f"{waiting.films:,} waiting, {waiting.in_work:,} of them in work")
    if waiting.oldest_at:
        late = BAD if waiting.oldest_seconds > snapshot.backlog_seconds else ""
        text.append(", oldest ").append(duration(waiting.oldest_seconds), late)
    if waiting.ahead:
        text.append(f", {waiting.ahead:,} of them came in the future", BAD)
    return with_label("films", text)


def columns_line(width: int) -> Text:
    heads = "".join(f"{name:>{wide}}" for name, _, wide in COLUMNS)
    return Text(f"{'today':<18}{heads}{'  last film' if width >= SECONDS_FROM else ' last'}", STRONG)


def sender_line(sender: SenderToday, now: datetime, zone: ZoneInfo, width: int) -> Text:
    last = f"  {short_time(sender.last_at, now, zone)}"
    if width < SECONDS_FROM:
        last = f" {sender.last_at.astimezone(zone):%H:%M}"
    return _counts(f"  {sender.calling_ae}", [sender]).append(last, QUIET)


def total_line(senders: Sequence[SenderToday]) -> Text:
    return _counts("  all" if any(sender.received for sender in senders) else "  no film yet", senders)


def other_objects_lines(senders: Sequence[SenderToday]) -> list[Text]:
    number = sum(sender.other for sender in senders)
    objects = "object that is no film" if number == 1 else "objects that are no films"
    return [Text(f"  beside them {number:,} {objects}", QUIET)] if number else []


def _counts(name: str, senders: Sequence[SenderToday]) -> Text:
    text = Text(f"{name:<18}")
    for _, column, wide in COLUMNS:
        films = sum(getattr(sender, column) for sender in senders)
        text.append(f"{films:>{wide},}", BAD if films and column == "failed" else "" if films else QUIET)
    return text


def turned_away_lines(label: str, number: int, what: str, style: str = WARN) -> list[Text]:
    """Those turned away today; no line where there are none."""
    return [with_label(label, Text(f"{counted(number, what)} today", style))] if number else []


def film_refused_line(peer: TurnedAway) -> Text:
    return _turned_away(peer, [f"{number:,} x {code} {COMMENTS.get(code, '')}" for code, number in peer.codes.items()])


def not_let_in_line(peer: TurnedAway) -> Text:
    return _turned_away(peer, [f"{number:,} x {NOT_LET_IN.get(code, code)}" for code, number in peer.codes.items()])


def _turned_away(peer: TurnedAway, words: list[str]) -> Text:
    return Text.assemble(f"  {peer.calling_ae:<16}", (f"  {', '.join(word.strip() for word in words)}", QUIET))


def contexts_line(peer: Refused) -> Text:
    classes = ", ".join(f"{name} {number:,}" for name, number in peer.sop_classes.items())
    return Text.assemble(f"  {peer.calling_ae:<16}", (f"  {classes}", QUIET))


def hour_lines(hour: LastHour, columns: int, marks: str) -> list[Text]:
    """Both on one scale: films that come and do not go are seen."""
    came, went = steps(hour.received, columns), steps(hour.ended, columns)
    most = max(*came, *went)
    received, ended = (
        with_label(label, Text.assemble((sparkline(films, most, marks), "cyan"), f"  {sum(films):,} {what}"))
        for label, films, what in (("last hour", came, "received"), ("", went, "ended"))
    )
    received.append(f", up to {max(hour.received):,} a minute")
    if hour.p50 is not None and hour.p95 is not None:
        ended.append(f", p50 {_seconds(hour.p50)}, p95 {_seconds(hour.p95)}")
    return [received, ended]


def _seconds(value: float) -> str:
    return f"{value:.1f} s" if value < 60 else duration(value)


def quarantine_lines(stored: DatabaseContent) -> list[Text]:
    """No line where nothing is in quarantine."""
    held = stored.quarantine
    if not held:
        return []
    films, objects = sum(sender.films for sender in held), sum(sender.other_objects for sender in held)
    words = counted(films, "film") + (f" and {counted(objects, 'other object')}" if objects else "")
    named = list(dict.fromkeys(f"{sender.calling_ae} from {sender.address}" for sender in held))
    senders = ", ".join(named[:NAMED_SENDERS]) + (" and others" if len(named) > NAMED_SENDERS else "")
    return [with_label("quarantine", Text(f"{words}, not scored: {senders}. First: xrayq peer quarantine", WARN))]


def dead_letters_line(stored: DatabaseContent) -> Text:
    return with_label("dead letters", Text(f"{stored.failed:,}", BAD if stored.failed else GOOD))


def dead_letter_line(film: ShownDeadLetter, now: datetime, zone: ZoneInfo) -> Text:
    came = f"{short_time(film.received_at, now, zone):<11}"
    return Text.assemble("  ", (came, QUIET), f"  {film.id:>8}  {film.calling_ae:<16}  ", (film.reason, "red"))
