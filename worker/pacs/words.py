"""What PACSs have and we do not, in words for commands, reports and alarms."""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from datetime import date

from dicom_gateway.errors import REFUSALS, in_hexadecimal
from worker.pacs.comparing import Comparison, MissingFilm, Why
from worker.pacs.kept import NotHere, PacsDay
from worker.words import counted

REASONS: dict[Why, str] = {
    Why.NEVER_SENT: "never sent",
    Why.CONTEXT_REFUSED: "refused by its presentation context",
    Why.REFUSED: "refused",
    Why.QUARANTINED: "quarantined",
    Why.OTHER_OBJECT: "here as another object, not as a film",
}
WHAT_TO_DO: dict[Why, str] = {
    Why.NEVER_SENT: "send it from the PACS, and look at its rule for sending to us",
    Why.CONTEXT_REFUSED: "the sender proposed no transfer syntax that is taken, or none: see 'xrayq audit report'",
    Why.REFUSED: "mend what the status says, then send it again",
    Why.QUARANTINED: "admit the sender",
    Why.OTHER_OBJECT: "its SOP class as it came can be no film: look at what the sender makes of it",
}
FAULTS: dict[str, str] = {
    "no_connection": "nothing listens there, or it does not answer",
    "unknown_host": "no host of this name",
    "aborted": "it does not answer the request for an association, or ends it",
    "no_tls": "no TLS with it",
    "untrusted": "no authority in XRAYQ_TLS_AUTHORITIES signed its certificate, or it expired, or names another host",
    "bad_certificate": "a file of XRAYQ_TLS_AUTHORITIES, XRAYQ_TLS_CERTIFICATE or XRAYQ_TLS_KEY cannot be used",
    "not_accepted": "it accepts no C-FIND of us: let our AE title query there (Study Root)",
    "no_answer": "it did not answer to the end, or ended the association: does it let our AE title query there?",
    "no_time": "the time for asking was over (XRAYQ_ASK_SECONDS)",
    "too_many_matches": "it has more matches in one minute, or in one study, than it sends",
    "rejected_1_1_3": "it does not know our AE title (XRAYQ_AE_TITLE): let it in there",
    "rejected_1_1_7": "it does not answer to the called AE title in XRAYQ_ASK_PACS",
    "rejected_2_3_2": "it takes no more associations now",
}
STATUSES = {in_hexadecimal(refusal.status): refusal.comment for refusal in REFUSALS}


def fault_in_words(fault: str) -> str:
    if fault.startswith("query_"):
        return f"it answered C-FIND with status {fault.removeprefix('query_')}"
    return FAULTS.get(fault, fault)


def why_in_words(why: Why, status: str | None = None, calling_ae: str = "") -> str:
    """Of one film: refused (0xHHHH, SOP Class UID differs from command or context; CR1)."""
    said = "" if status is None else ", ".join(filter(None, (status, STATUSES.get(status, ""))))
    beside = "; ".join(filter(None, (said, calling_ae)))
    return REASONS[why] + (f" ({beside})" if beside else "")


def reasons_in_words(reasons: Mapping[Why, int], statuses: Iterable[str] = ()) -> str:
    """3 never sent, 1 refused (0xHHHH), 1 quarantined."""
    codes = ", ".join(sorted(set(statuses)))
    named = {Why.REFUSED: f" ({codes})" if codes else ""}
    return ", ".join(f"{reasons[why]} {REASONS[why]}{named.get(why, '')}" for why in Why if reasons.get(why))


def comparison_in_words(pacs: str, day: date, found: Comparison) -> str:
    """ARCHIVE has 20 chest films of 2026-11-27; 15 here; 5 not: 3 never sent, 1 refused (0xHHHH), 1 quarantined"""
    return _in_words(pacs, day, found.films, found.here, found.on_its_way, found.missing)


def pacs_in_words(answer: PacsDay) -> str:
    """As `comparison_in_words`; what came since is said."""
    words = _in_words(answer.pacs, answer.day, answer.films, answer.here, answer.on_its_way, answer.not_here)
    came = len(answer.not_here) - answer.missing
    return f"{words}; {came} of them came since" if came else words


def _in_words(
    pacs: str, day: date, films: int, here: int, on_its_way: int, missing: Sequence[MissingFilm | NotHere]
) -> str:
    parts = [f"{pacs} has {counted(films, 'chest film')} of {day}", f"{here} here"]
    if on_its_way:
        parts.append(f"{on_its_way} may still be on the way")
    reasons = Counter(film.why for film in missing)
    statuses = [film.status for film in missing if film.status is not None]
    parts.append(f"{len(missing)} not: {reasons_in_words(reasons, statuses)}" if missing else "none is missing")
    return "; ".join(parts)
