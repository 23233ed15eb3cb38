"""Why a result did not arrive: a code for log, errand and audit trail, and words for whoever set the destination up."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

from dicom_gateway.errors import in_hexadecimal
from worker.channels import faults as of_channels
from worker.reporting.hl7 import acknowledgement

if TYPE_CHECKING:
    from dicom_gateway.store_objects import StoreAnswer

NOT_CONFIGURED, SILENT, EARLIER_WAITS, UNREADABLE = "not_configured", "silent", "earlier_waits", "unreadable"
REPLACED, QUIET, NOT_TOLD = "replaced", "quiet_hours", "not_told"
NOT_MADE, NO_SCORE, SCORE_ALTERED = "not_made", "no_score", "score_altered"
FILM_MISSING, FILM_ALTERED = "film_missing", "film_altered"
NO_PICTURE, NO_BUNDLE = "no_picture", "no_bundle"
NOT_ACCEPTED, NO_ANSWER = "not_accepted", "no_answer"
NO_CONNECTION, UNKNOWN_HOST, HUNG_UP = "no_connection", "unknown_host", "hung_up"
UNTRUSTED, NO_TLS = "untrusted", "no_tls"
NO_ACKNOWLEDGEMENT, OTHER_MESSAGE = "no_acknowledgement", "other_message"
NOT_HELD, NOT_FOUND, NOT_COMMITTED = "not_held", "not_found", "not_committed"
NO_REPORT, STATUS_COUNTS = "no_report", "status_counts"
REJECTED, STATUS, COMMITMENT, QUERY, REFUSED = "rejected_", "status_", "commitment_", "query_", "refused_"
WORDS: dict[str, str] = {
    NO_CONNECTION: "nothing listens there, or it does not answer",
    UNKNOWN_HOST: "no host of this name",
    "aborted": "it does not answer the request for an association, or ends it",
    UNTRUSTED: "no authority in XRAYQ_TLS_AUTHORITIES signed its certificate, or it expired, or names another host",
    NO_TLS: "the TLS handshake failed: it may not trust our certificate (XRAYQ_TLS_CERTIFICATE), or speak no TLS",
    f"{REJECTED}1_1_3": "it does not know our AE title (XRAYQ_AE_TITLE): let it in there",
    f"{REJECTED}1_1_7": "it does not answer to the called AE title in XRAYQ_RESULTS_TO",
    f"{REJECTED}2_3_2": "it takes no more associations now",
    NOT_ACCEPTED: "it accepts no presentation context for the object: let it take the SOP class",
    NO_ANSWER: "it took the connection and did not answer",
    HUNG_UP: "it closed the connection without an answer",
    NO_ACKNOWLEDGEMENT: "what it answered is no acknowledgement of HL7",
    OTHER_MESSAGE: "it acknowledged another message, and not this one: it must return MSH-10 of the message in MSA-2",
    NOT_HELD: "it took the objects, and reports that it does not hold each",
    NOT_FOUND: "it took the objects, and C-FIND does not find each",
    NOT_COMMITTED: "it reports that it does not commit to each object: 'xrayq report show' has its Failure Reason",
    NO_REPORT: "it took the request for storage commitment, and has not reported yet: it must know our AE title, host "
    "and port (XRAYQ_AE_TITLE, XRAYQ_PORT)",
    STATUS_COUNTS: "it takes neither storage commitment nor C-FIND, or is not asked: its status of the C-STORE counts",
    NOT_CONFIGURED: "it is no destination of XRAYQ_RESULTS_TO any more: 'xrayq report resend' sends it where results "
    "go now",
    SILENT: "the device was silenced while it waited: 'xrayq report resend' sends it once it is accepted again",
    EARLIER_WAITS: "the result of an earlier revision of the film waits too",
    QUIET: "quiet hours (XRAYQ_QUIET_HOURS)",
    NOT_TOLD: "none of its flags is told there (XRAYQ_TOLD_FLAGS), and none that was told is taken back",
    REPLACED: "a newer revision of the film has a result",
    UNREADABLE: "another release wrote it, and this one cannot read it",
    NOT_MADE: "the objects could not be made, the worker's log says more",
    NO_PICTURE: "the film could not be decoded for its picture, the worker's log says more",
    NO_BUNDLE: "the bundle that scored the film is not here any more: put it back where it was",
    SCORE_ALTERED: "the score is not the one that the audit trail tells of: 'xrayq audit verify'",
    NO_SCORE: "the film has no score of this bundle",
    FILM_MISSING: "the film is not in the spool",
    FILM_ALTERED: "the film in the spool is not the one that was received, or cannot be read",
}
AWAY = (
    NO_CONNECTION,
    UNKNOWN_HOST,
    "aborted",
    "connection_refused",
    "certificate",
    UNTRUSTED,
    NO_TLS,
    HUNG_UP,
    NO_ANSWER,
)
"""With these another result would hardly arrive now either, nor where the association is rejected."""
ANSWERED = (STATUS, COMMITMENT, QUERY, REFUSED, "http_", "smtp_")
"""Codes that begin so: the destination answered to what was sent, and did not take it."""

NEVER_ARRIVED = (NO_CONNECTION, UNKNOWN_HOST, "connection_refused", "certificate", UNTRUSTED, "not_offered")
"""With these nothing of a message was sent."""
NOT_TAKEN = (REFUSED, "smtp_", "http_3", "http_4")
"""Codes that begin so: the receiver had it, and said that it does not take it."""
ASKED = (NOT_HELD, NOT_FOUND, NOT_COMMITTED, NO_REPORT, STATUS_COUNTS)
"""What a destination that answers is found to be like."""


def of_answers(answers: Sequence["StoreAnswer"], objects: int) -> str:
    """The code of the first object that the destination does not hold, "" where it holds each of so many."""
    for answer in answers:
        if not answer.asked:
            return NOT_ACCEPTED
        if answer.status is None:
            return NO_ANSWER
        if not answer.held:
            return f"{STATUS}{in_hexadecimal(answer.status)}"
    return "" if len(answers) == objects else NO_ANSWER


def may_have_arrived(code: str) -> bool:
    """Whether the destination may have the message, though sending it failed so: its answer was lost, or came too
    late. HTTP 5xx, too: a receiver that breaks down may have kept it, and a proxy that gives up has handed it on."""
    return code not in NEVER_ARRIVED and not code.startswith(NOT_TAKEN)


def is_away(code: str) -> bool:
    """Whether another result would hardly arrive now either."""
    return code in AWAY or code.startswith(REJECTED)


def is_there(code: str) -> bool:
    """Whether the destination answered to what was sent: took it, or refused it."""
    return not code or code in (NOT_ACCEPTED, NO_ACKNOWLEDGEMENT, OTHER_MESSAGE, *ASKED) or code.startswith(ANSWERED)


def in_words(code: str) -> str:
    """What the code means; the code itself where it says enough."""
    if code in WORDS:
        return WORDS[code]
    if code.startswith(STATUS):
        from dicom_gateway.store_objects import meaning_of  # half a second, and 30 MB, of processes that send nothing

        number = code.removeprefix(STATUS)
        meaning = meaning_of(int(number, 16))
        return f"it answered {number}: {meaning}" if meaning else f"it answered {number}"
    for prefix, question in ((COMMITMENT, "the request for storage commitment"), (QUERY, "C-FIND")):
        if code.startswith(prefix):
            return f"it answered {code.removeprefix(prefix)} to {question}"
    if code.startswith(REFUSED):
        answer, _, error = code.removeprefix(REFUSED).partition("_")
        return acknowledgement.in_words(answer, error)
    if code.startswith(REJECTED) and code not in WORDS:
        numbers = code.removeprefix(REJECTED).replace("_", "/")
        return f"it rejects the association ({numbers})"
    return WORDS[code] if code in WORDS else of_channels.in_words(code)
