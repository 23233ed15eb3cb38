"""An audit message as a syslog message (RFC 5424), as PS3.15 A.6 and A.7 have it."""

import re
from datetime import UTC, datetime

from worker.audit_messages.message import AuditMessage, Outcome, Source, to_xml

FACILITY = 10
"""Security and authorization messages."""
SEVERITY = {Outcome.SUCCESS: 5, Outcome.MINOR: 4, Outcome.MAJOR: 2}
"""Notice, warning, critical."""
MESSAGE_ID = "DICOM+RFC3881"
BOM = b"\xef\xbb\xbf"
NOT_PRINTABLE = re.compile(r"[^!-~]")


def to_syslog(message: AuditMessage, source: Source) -> bytes:
    """Header, no structured data, and the XML behind a byte order mark. Sent again, it is the same: its time is that of
    the event."""
    priority = FACILITY * 8 + SEVERITY[message.outcome]
    host = NOT_PRINTABLE.sub("", source.name)[:255] or "-"
    header = f"<{priority}>1 {_time(message.at)} {host} xrayq - {MESSAGE_ID} - "
    return header.encode("ascii") + BOM + to_xml(message, source)


def _time(at: datetime) -> str:
    return at.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
