"""Errors of the gateway, one tree, and every DIMSE status that it answers with.

    GatewayError
    ├── Refusal                 a C-STORE that is not answered with success; it carries the status
    │   ├── NoSpace
    │   ├── TooLarge
    │   ├── StoreUnavailable
    │   ├── TooFast
    │   ├── QuarantineFull
    │   ├── ClassMismatch
    │   ├── InstanceMismatch
    │   ├── Truncated
    │   ├── Malformed
    │   ├── TooDeep
    │   ├── MissingIdentifier
    │   ├── NoDataSet
    │   ├── InvalidInstance
    │   ├── StudyMismatch
    │   └── ClassNotServed
    ├── ReportRefusal           an N-EVENT-REPORT that is not answered with success; it carries the status
    │   ├── NoSuchEvent
    │   ├── UnreadableReport
    │   └── ReportTooLarge
    ├── RequestRefusal          an N-ACTION that is not answered with success; it carries the status
    │   ├── NoSuchObject
    │   ├── UnreadableRequest
    │   ├── NoSuchClass
    │   ├── NoSuchAction
    │   └── RequestTooLarge
    ├── PixelError              a stored film that gives no radiograph; it carries the reason code
    │   ├── NoPixelData
    │   ├── HeaderIncomplete
    │   ├── TooManyPixels
    │   ├── NotGrayscale
    │   ├── MultiFrame
    │   ├── UnsupportedSyntax
    │   ├── CodestreamMismatch
    │   └── CorruptPixels
    ├── Abort                   an association that we end
    ├── PeerGone                an association that the peer ended
    │   ├── PeerSilent
    │   └── HandshakeFailed     no TLS with it
    ├── BadCertificate          a certificate, key or list of authorities that cannot be used
    ├── CannotListen            an address and port that cannot be had
    ├── PeerUnavailable         as SCU: no association
    │   ├── NoTls
    │   └── Rejected
    │       └── CallingRejected
    ├── QueryFailed             as SCU: a C-FIND without a whole answer
    │   └── TooManyMatches
    └── RetrieveFailed          as SCU: a C-MOVE or C-GET that was not sent

Which status answers what (PS3.4 Table B.2-1 and PS3.7 Annex C; in the ranges A7xx, A9xx and Cxxx the last two digits
are ours):

    0x0000  success             C-STORE: the film is durable and its row committed. C-ECHO: always
    0x0110  Refusal             processing failure; only the kinds of it below are raised
    0x0110  ReportRefusal       the database did not take what a report says: the peer should send it again
    0x0110  RequestRefusal      the database did not take a request for storage commitment: the peer should ask again
    0x0112  NoSuchObject        an N-ACTION names another SOP Instance than the well-known one
    0x0113  NoSuchEvent         an N-EVENT-REPORT of another event type than 1 and 2
    0x0115  UnreadableReport    its data set is missing, or names no transaction or no objects
    0x0115  UnreadableRequest   the same of an N-ACTION, or it names an object under two SOP Classes
    0x0117  InvalidInstance     the command names no valid SOP Instance UID
    0x0122  ClassNotServed      by web: it is of no storage class (C-STORE has no presentation context for such)
    0x0118  NoSuchClass         an N-ACTION names another SOP Class than its context
    0x0123  NoSuchAction        an N-ACTION of another action type than 1
    0x0211  -                   a command that is not served on this presentation context
    0x0213  ReportTooLarge      its data set is larger than this node accepts
    0x0213  RequestTooLarge     the same of an N-ACTION, or too many requests of the peer wait for their report
    0xA700  NoSpace             the spool's file system has less free space than the reserve
    0xA701  TooLarge            the data set, or what is before its pixels, is larger than this node accepts
    0xA702  StoreUnavailable    the spool cannot be written, or the database did not take the row, or not in time
    0xA703  TooFast             its sender sends more objects a minute than it may
    0xA704  QuarantineFull      its sender is unknown, and unknown peers have as much here as they may
    0xA900  ClassMismatch       the data set, the command and the context do not name one SOP Class
    0xA901  InstanceMismatch    the data set and the command do not name one SOP Instance
    0xA902  StudyMismatch       by web: it is not of the study that the request names
    0xC001  Truncated           the data set ends before its last element
    0xC002  Malformed           the data set cannot be parsed
    0xC003  TooDeep             its sequences are nested too deep
    0xC004  MissingIdentifier   it lacks the SOP Class or Instance UID
    0xC005  NoDataSet           the command announces no data set

Whoever finds the fault raises the class; `messages` answers with its status. No other module knows a number.
Comments go into Error Comment (0000,0902): no more than 64 characters, and never a word from the data set.
"""

from enum import Enum

SUCCESS, UNRECOGNISED_OPERATION = 0x0000, 0x0211


def in_hexadecimal(status: int) -> str:
    """As logs, metrics and pages write a DIMSE status: 0xA702."""
    return f"0x{status:04X}"


class GatewayError(Exception):
    """Base of every error this package raises on purpose."""


class Refusal(GatewayError):
    """A C-STORE that is answered with something else than success. Nothing of it is kept."""

    status = 0x0110
    comment = "processing failure"


class NoSpace(Refusal):
    status = 0xA700
    comment = "free space is below the reserve"


class TooLarge(Refusal):
    status = 0xA701
    comment = "data set is larger than this node accepts"


class StoreUnavailable(Refusal):
    """The spool or the database cannot take the instance now; the peer should try again."""

    status = 0xA702
    comment = "storage is unavailable, try again later"


class TooFast(Refusal):
    """More than the sender's row in the table of peers allows; it should try again later."""

    status = 0xA703
    comment = "more objects a minute than agreed, try again later"


class QuarantineFull(Refusal):
    """An unknown peer's object: so much of all of them waits in quarantine that no more is taken."""

    status = 0xA704
    comment = "too much of unknown peers is here, try again later"


class ClassMismatch(Refusal):
    status = 0xA900
    comment = "SOP Class UID differs from command or context"


class InstanceMismatch(Refusal):
    status = 0xA901
    comment = "SOP Instance UID differs from the command's"


class Truncated(Refusal):
    status = 0xC001
    comment = "data set ends before its last element"


class Malformed(Refusal):
    status = 0xC002
    comment = "data set cannot be parsed"


class TooDeep(Refusal):
    status = 0xC003
    comment = "sequences are nested too deep"


class MissingIdentifier(Refusal):
    status = 0xC004
    comment = "SOP Class or Instance UID is missing in the data set"


class NoDataSet(Refusal):
    status = 0xC005
    comment = "C-STORE-RQ announces no data set"


class InvalidInstance(Refusal):
    """PS3.7 C.5.5: the command names no, or no valid, SOP Instance UID."""

    status = 0x0117
    comment = "Affected SOP Instance UID is empty or invalid"


class StudyMismatch(Refusal):
    """A request to `/studies/{study}` brings an instance of another study (PS3.18 10.5)."""

    status = 0xA902
    comment = "Study Instance UID differs from the request's"


class ClassNotServed(Refusal):
    """PS3.7 C.5.6. Only by web: a C-STORE of it has no presentation context."""

    status = 0x0122
    comment = "SOP class is no storage class"


REFUSALS: tuple[type[Refusal], ...] = (
    NoSpace,
    TooLarge,
    StoreUnavailable,
    TooFast,
    QuarantineFull,
    ClassMismatch,
    InstanceMismatch,
    Truncated,
    Malformed,
    TooDeep,
    MissingIdentifier,
    NoDataSet,
    InvalidInstance,
    StudyMismatch,
    ClassNotServed,
)


class ReportRefusal(GatewayError):
    """An N-EVENT-REPORT of storage commitment (PS3.4 J.3.3) that is not answered with success. It changes nothing."""

    status = 0x0110
    comment = "the report was not kept, try again later"


class NoSuchEvent(ReportRefusal):
    status = 0x0113
    comment = "Event Type ID is neither 1 nor 2"


class UnreadableReport(ReportRefusal):
    status = 0x0115
    comment = "no transaction or no objects in the report"


class ReportTooLarge(ReportRefusal):
    status = 0x0213
    comment = "the report is larger than this node accepts"


REPORT_REFUSALS: tuple[type[ReportRefusal], ...] = (ReportRefusal, NoSuchEvent, UnreadableReport, ReportTooLarge)


class RequestRefusal(GatewayError):
    """An N-ACTION of storage commitment (PS3.4 J.3.2) that is not answered with success. Nothing of it is kept, and no
    report follows."""

    status = 0x0110
    comment = "the request was not kept, try again later"


class NoSuchObject(RequestRefusal):
    status = 0x0112
    comment = "Requested SOP Instance UID is not the well-known one"


class UnreadableRequest(RequestRefusal):
    status = 0x0115
    comment = "no transaction or no objects in the request"


class NoSuchClass(RequestRefusal):
    status = 0x0118
    comment = "Requested SOP Class UID is not storage commitment"


class NoSuchAction(RequestRefusal):
    status = 0x0123
    comment = "Action Type ID is not 1"


class RequestTooLarge(RequestRefusal):
    status = 0x0213
    comment = "too large, or too many requests wait"


REQUEST_REFUSALS: tuple[type[RequestRefusal], ...] = (
    RequestRefusal,
    NoSuchObject,
    UnreadableRequest,
    NoSuchClass,
    NoSuchAction,
    RequestTooLarge,
)


class PixelError(GatewayError):
    """The stored file cannot be parsed, or its pixels fail for no closer reason.

    Base of every fault of a stored film; `reason` is the code kept in the database.
    """

    reason = "pixels_unreadable"


class NoPixelData(PixelError):
    """No Pixel Data (7FE0,0010) element, or an empty one."""

    reason = "no_pixel_data"


class HeaderIncomplete(PixelError):
    """An attribute of the Image Pixel module (PS3.3 C.7.6.3) is missing or impossible."""

    reason = "header_incomplete"


class TooManyPixels(PixelError):
    """Rows x Columns, in the header or in the codestream, is over the limit."""

    reason = "too_many_pixels"


class NotGrayscale(PixelError):
    """Photometric Interpretation is neither MONOCHROME1 nor MONOCHROME2, or there are several samples a pixel."""

    reason = "not_grayscale"


class MultiFrame(PixelError):
    """Number of Frames is over 1."""

    reason = "multi_frame"


class UnsupportedSyntax(PixelError):
    """The transfer syntax is not one that is decoded."""

    reason = "unsupported_transfer_syntax"


class CodestreamMismatch(PixelError):
    """The codestream's own size, components, precision or sign contradict the header."""

    reason = "codestream_mismatch"


class CorruptPixels(PixelError):
    """The codestream is damaged, or shorter than the header says."""

    reason = "corrupt_pixels"


PIXEL_ERRORS: tuple[type[PixelError], ...] = (
    NoPixelData,
    HeaderIncomplete,
    TooManyPixels,
    NotGrayscale,
    MultiFrame,
    UnsupportedSyntax,
    CodestreamMismatch,
    CorruptPixels,
)


class AbortReason(Enum):
    """Provider reason of A-ABORT (PS3.8 Table 9-26)."""

    NOT_SPECIFIED = 0
    UNRECOGNISED_PDU = 1
    UNEXPECTED_PDU = 2
    INVALID_PARAMETER = 6


class Abort(GatewayError):
    """End the association with an A-ABORT."""

    def __init__(self, reason: AbortReason, why: str) -> None:
        super().__init__(why)
        self.reason = reason


class PeerGone(GatewayError):
    """The peer closed, released or aborted: nothing to answer. The text says how."""


class PeerSilent(PeerGone):
    """No PDU began in the time allowed."""


class HandshakeFailed(PeerGone):
    """No TLS with this peer. The text says why, without a word of the peer's."""

    def __init__(self, why: str, *, certificate: bool = False) -> None:
        """`certificate`: the peer's is not trusted."""
        super().__init__(why)
        self.code = "untrusted" if certificate else "no_tls"


class BadCertificate(GatewayError):
    """A certificate, key or list of authorities cannot be used. The text names the file and says why."""


class CannotListen(GatewayError):
    """An address and port cannot be had."""

    def __init__(self, host: str, port: int, error: OSError) -> None:
        super().__init__(f"{host}:{port}")
        self.host, self.port, self.error = host, port, error


class PeerUnavailable(GatewayError):
    """No association: nobody listens, or the peer rejected or aborted it."""


class NoTls(PeerUnavailable):
    """The TLS handshake failed, or the peer did not take our certificate. The text says why, in OpenSSL's words."""


class Rejected(PeerUnavailable):
    """What an A-ASSOCIATE-RJ says."""


class CallingRejected(Rejected):
    """It does not let our calling AE title in."""


class QueryFailed(GatewayError):
    """A C-FIND whose answer is not whole. The text is a code: not_accepted, no_answer, query_0xC000."""


class TooManyMatches(QueryFailed):
    """There are more matches than the peer sends, or than we take: ask for less at once."""


class RetrieveFailed(GatewayError):
    """A C-MOVE or C-GET that was not sent. The text is a code: not_accepted, no_films, no_answer."""
