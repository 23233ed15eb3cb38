"""What a single setting may hold. Each function returns the value, or raises ValueError in words that do not repeat it:
it may hold a password."""

import ipaddress
import os
import re
from base64 import b64decode
from dataclasses import dataclass
from datetime import time
from pathlib import Path
from urllib.parse import urlsplit
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from dicom_gateway.views import VIEWS, named_views
from model.gate.reasons import REASONS

BROKERS = ("redis", "rediss", "redis+socket")
SILENCING_RULES = ("drift", "performance")
"""Alarms that can end the sending of results."""
LONGEST_TITLE = 16
LONGEST_DESTINATION = 128
"""Characters of CALLED_AE@host:port and of other names of destinations, as the database keeps them."""
ANY_SENDER = "*"
HL7_CHARACTER_SETS = {"UNICODE UTF-8": "utf-8", "ASCII": "ascii"} | {
    f"8859/{part}": f"iso8859-{part}" for part in (*range(1, 10), 15)
}
"""HL7 table 0211 to Python's codecs. A set in which a separator's byte can be half of a character is no choice: a
receiver that splits bytes would break the message."""
MLLP = re.compile(r"((?:tls:)?mllp):(?://)?", re.IGNORECASE)
WEBHOOK_PREFIX = "whsec_"
LEAST_SECRET, LEAST_KEY = 16, 24
"""Characters of a plain secret, and bytes behind `whsec_`, as the specification has them."""
LEAST_TOKEN = 16
"""Characters of a bearer token."""


def broker(url: str) -> str:
    """An address of a Redis: a typing error would otherwise be found when the first film waits."""
    if not url:
        return url
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError:
        raise ValueError("has no such port: it should be like redis://host:6379/0") from None
    if parts.scheme not in BROKERS:
        raise ValueError("should begin with redis://, rediss:// or redis+socket://: xrayq speaks to Redis alone")
    if parts.scheme == "redis+socket":
        if parts.netloc or not parts.path.startswith("/"):
            raise ValueError("should be like redis+socket:///run/redis.sock")
    elif not parts.hostname or port == 0:
        raise ValueError("should name a host, as redis://host:6379/0 does")
    elif not (parts.path.strip("/").isdecimal() or parts.path in ("", "/")):
        raise ValueError("should end with the number of a database, as redis://host:6379/0 does")
    return url


def title(name: str) -> str:
    """An AE title: the default repertoire without backslash and control characters, not spaces alone (PS3.5 6.2)."""
    if len(name) > LONGEST_TITLE or not name.strip():
        raise ValueError(f"should be an AE title of 1 to {LONGEST_TITLE} characters")
    if not (name.isascii() and name.isprintable()) or "\\" in name:
        raise ValueError("should have letters, digits, spaces and signs of ASCII alone, and no backslash")
    return name


def silencing_rules(names: tuple[str, ...]) -> tuple[str, ...]:
    """Alarms that end the sending of results."""
    if not set(names) <= set(SILENCING_RULES):
        raise ValueError(f"should name {' and '.join(SILENCING_RULES)} alone")
    return names


def result_routes(texts: tuple[str, ...]) -> tuple[str, ...]:
    """Where results go, each entry as `result_route` reads it, none twice."""
    read = []
    for number, text in enumerate(texts, 1):
        try:
            read.append(result_route(text))
        except ValueError as error:
            raise ValueError(f"entry {number} {error}") from None
    if len(set(read)) < len(read):
        raise ValueError("sends the results of one sender to one destination twice")
    return texts


def asked_pacs(texts: tuple[str, ...]) -> tuple[str, ...]:
    """PACSs that are asked what they have: AE@host:port, or tls: before it; each AE title once, as it is the name."""
    titles = []
    for number, text in enumerate(texts, 1):
        try:
            route = result_route(f"{ANY_SENDER}:{text}")
        except ValueError:
            route = None
        if route is None or route.scheme not in ("", "tls"):
            raise ValueError(f"entry {number} should be like PACS@pacs.example:104 or tls:PACS@pacs.example:2762")
        titles.append(route.called)
    if len(set(titles)) < len(titles):
        raise ValueError("has an AE title twice: it is a PACS's name in reports and alarms")
    return texts


def commitment_routes(texts: tuple[str, ...]) -> tuple[str, ...]:
    """Where storage commitment is reported to, each entry as `commitment_route` reads it, no AE twice."""
    titles = []
    for number, text in enumerate(texts, 1):
        try:
            titles.append(commitment_route(text).called)
        except ValueError as error:
            raise ValueError(f"entry {number} {error}") from None
    if len(set(titles)) < len(titles):
        raise ValueError("names one AE title twice")
    return texts


@dataclass(frozen=True, kw_only=True)
class ResultRoute:
    """An entry of XRAYQ_RESULTS_TO."""

    sender: str
    """An AE title, or *."""
    scheme: str
    """How: mllp, http, https or mailto; "" is C-STORE, tls that over TLS, tls:mllp MLLP over TLS."""
    called: str = ""
    """AE title, of C-STORE."""
    host: str = ""
    port: int = 0
    """Of C-STORE and MLLP. An IPv6 address has no brackets here."""
    address: str = ""
    """A URL, or a mail address."""


def result_route(text: str) -> ResultRoute:
    """SENDER:DESTINATION, where DESTINATION is AE@host:port or mllp://host:port, both with or without tls: before it,
    http(s)://... or mailto:address."""
    sender, _, destination = (part.strip() for part in text.partition(":"))
    scheme = destination.partition(":")[0].lower()
    if mllp := MLLP.match(destination):
        scheme = mllp[1].lower()
        host, port = _host_and_port(destination[mllp.end() :])
        route = ResultRoute(sender=sender, scheme=scheme, host=host, port=port)
    elif scheme in ("http", "https"):
        route = ResultRoute(sender=sender, scheme=scheme, address=web_address(destination))
        if len(urlsplit(destination).netloc) > LONGEST_DESTINATION - len("https://#01234567"):
            raise ValueError(f"has a destination of more than {LONGEST_DESTINATION} characters")
    elif scheme == "mailto":
        route = ResultRoute(sender=sender, scheme=scheme, address=mail_address(destination.partition(":")[2]))
        if not route.address:
            raise ValueError("should name a mail address behind mailto:")
    else:
        scheme = "tls" if scheme == "tls" else ""
        called, at, where = destination[len("tls:") if scheme else 0 :].rpartition("@")
        if not at or ":" in called:
            raise ValueError(
                "should be like CR1:PACS@pacs.example:104, CR1:tls:PACS@pacs.example:2762, *:mllp://ris.example:2575, "
                "*:https://hook.example/flags or *:mailto:chest@hospital.example, where * is every other sender"
            )
        host, port = _host_and_port(where)
        route = ResultRoute(sender=sender, scheme=scheme, called=called, host=host, port=port)
    for name, whose in (
        (sender, "sender"),
        *([(route.called, "destination")] if route.scheme in ("", "tls") else []),
    ):
        try:
            title(name)
        except ValueError as error:
            raise ValueError(f"has a {whose} that {error}") from None
    if route.scheme not in ("http", "https") and len(destination) > LONGEST_DESTINATION:
        raise ValueError(f"has a destination of more than {LONGEST_DESTINATION} characters")
    return route


def commitment_route(text: str) -> ResultRoute:
    """AE@host:port or tls:AE@host:port, of any sender."""
    called, at, _ = (text[len("tls:") :] if text.lower().startswith("tls:") else text).rpartition("@")
    if not at or ":" in called:
        raise ValueError("should be like CR1@cr1.example:104 or tls:CR1@cr1.example:2762")
    return result_route(f"{ANY_SENDER}:{text}")


AUDIT_SCHEMES = ("syslog-tls", "syslog-udp")


@dataclass(frozen=True, kw_only=True)
class AuditRoute:
    """What XRAYQ_AUDIT_TO says."""

    scheme: str
    """One of AUDIT_SCHEMES."""
    host: str
    port: int
    """An IPv6 address has no brackets here."""


def audit_to(text: str) -> str:
    """syslog-tls://host:port or syslog-udp://host:port, or empty."""
    if text:
        audit_route(text)
    return text


def audit_route(text: str) -> AuditRoute:
    scheme, _, where = text.partition("://")
    if scheme not in AUDIT_SCHEMES:
        raise ValueError("should be like syslog-tls://repository.example:6514 or syslog-udp://repository.example:514")
    host, port = _host_and_port(where)
    return AuditRoute(scheme=scheme, host=host, port=port)


def _host_and_port(where: str) -> tuple[str, int]:
    """host:port; an IPv6 address is in brackets, and is returned without them."""
    host, colon, port = where.rpartition(":")
    if not colon:
        raise ValueError("should end with a port, as in host:104")
    bare = host.removeprefix("[").removesuffix("]")
    if not re.fullmatch(r"[\w.-]+" if bare == host else r"[0-9A-Fa-f:.%\w]+", bare):
        raise ValueError("should name a host, or an IPv6 address in brackets")
    try:
        bare.encode("idna")  # as whoever connects does
    except UnicodeError:
        raise ValueError("should name a host: 1 to 63 characters between its dots") from None
    if not (port.isascii() and port.isdecimal() and 0 < int(port) <= 65535):
        raise ValueError("should end with a port of 1 to 65535")
    return bare, int(port)


@dataclass(frozen=True, kw_only=True)
class ListeningPlace:
    """Where something is served by web."""

    tls: bool
    host: str
    port: int


def stow(text: str) -> str:
    """host:port or tls:host:port, or empty."""
    if text:
        listening_place(text)
    return text


WEB_ROLES = ("viewer", "reader", "operator", "admin")


def host_names(names: tuple[str, ...]) -> tuple[str, ...]:
    """Names or addresses of a host, without port, in lower case."""
    for number, name in enumerate(names, 1):
        try:
            _host_and_port(f"{f'[{name}]' if ':' in name else name}:1")
        except ValueError:
            raise ValueError(f"entry {number} should be the name of a host, without port") from None
    return tuple(name.lower().rstrip(".") for name in names)


def networks(texts: tuple[str, ...]) -> tuple[str, ...]:
    """IP addresses, and networks such as 10.1.2.0/24."""
    for number, text in enumerate(texts, 1):
        try:
            ipaddress.ip_network(text)
        except ValueError:
            raise ValueError(f"entry {number} should be an IP address, or a network such as 10.1.2.0/24") from None
    return texts


def header_name(text: str) -> str:
    """A field name of HTTP (RFC 9110 5.6.2)."""
    if not re.fullmatch(r"[A-Za-z0-9!#$%&'*+.^_`|~-]+", text):
        raise ValueError("should be the name of an HTTP header, such as X-Forwarded-User")
    return text


def role_entries(texts: tuple[str, ...]) -> tuple[str, ...]:
    """GROUP:ROLE each."""
    for number, text in enumerate(texts, 1):
        group, _, role = text.rpartition(":")
        if not group or role not in WEB_ROLES:
            raise ValueError(f"entry {number} should be GROUP:ROLE, ROLE one of {', '.join(WEB_ROLES)}")
    return texts


def listening_place(text: str) -> ListeningPlace:
    tls = text.lower().startswith("tls:")
    try:
        host, port = _host_and_port(text[len("tls:") if tls else 0 :])
    except ValueError:
        raise ValueError("should be like 127.0.0.1:8042, [::1]:8042 or tls:0.0.0.0:8443") from None
    return ListeningPlace(tls=tls, host=host, port=port)


def is_loopback(host: str) -> bool:
    """Whether who listens there is reached from this machine alone."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def token(text: str) -> str:
    """A bearer token (RFC 6750 2.1), or empty."""
    if text and (len(text) < LEAST_TOKEN or not re.fullmatch(r"[A-Za-z0-9._~+/-]+=*", text)):
        raise ValueError(
            f"should have {LEAST_TOKEN} characters or more: letters, digits and ._~+/-, as base64 has them"
        )
    return text


def named_tokens(text: str) -> tuple[tuple[str, str], ...]:
    """Lines or comma-separated entries AE_TITLE:TOKEN, as pairs. While one token replaces another, a name has two."""
    pairs = []
    for number, entry in enumerate(filter(None, map(str.strip, re.split(r"[\n,]", text))), 1):
        name, colon, shown = entry.partition(":")
        try:
            if not colon or not shown:
                raise ValueError("should be AE_TITLE:TOKEN")
            pairs.append((title(name.strip()), token(shown.strip())))
        except ValueError as error:
            raise ValueError(f"entry {number} {error}") from None
    if len({shown for _, shown in pairs}) < len(pairs):
        raise ValueError("has one token twice: it would not say who comes")
    return tuple(pairs)


def place(path: Path) -> Path:
    """The path, absolute, `~` resolved."""
    try:
        whole = path.expanduser().absolute()
    except RuntimeError:
        raise ValueError("begins with ~ and no home folder is known for it: give the whole path") from None
    if "\0" in str(whole):
        raise ValueError("holds a null character")
    longest = os.pathconf("/", "PC_NAME_MAX")
    if any(len(os.fsencode(part)) > longest for part in whole.parts):
        raise ValueError(f"has a name of more than {longest} bytes")
    return whole


def time_zone(name: str) -> str:
    """A zone that this machine knows."""
    try:
        ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        raise ValueError(f"names no time zone of this machine: {name!r}") from None
    return name


def time_of_day(text: str) -> str:
    """HH:MM, or empty."""
    if not re.fullmatch(r"(([01]\d|2[0-3]):[0-5]\d)?", text):
        raise ValueError("should be HH:MM, or empty")
    return text


def hl7_character_set(name: str) -> str:
    """A name of `HL7_CHARACTER_SETS`."""
    if name not in HL7_CHARACTER_SETS:
        raise ValueError(f"should be one of {', '.join(HL7_CHARACTER_SETS)}")
    return name


def quiet_hours(text: str) -> str:
    """HH:MM-HH:MM, or empty."""
    if text:
        begin_and_end(text)
    return text


def begin_and_end(text: str) -> tuple[time, time]:
    """The two times of `quiet_hours`."""
    if not re.fullmatch(r"([01]\d|2[0-3]):[0-5]\d-([01]\d|2[0-3]):[0-5]\d", text):
        raise ValueError("should be HH:MM-HH:MM, such as 20:00-07:00, or empty")
    begin, end = map(time.fromisoformat, text.split("-"))
    if begin == end:
        raise ValueError("should be two different times: nothing would ever be told")
    return begin, end


def link(text: str) -> str:
    """A URL with {instance} in it, or empty. Nothing else may stand in a mail: a UID leads to a patient."""
    if not text:
        return text
    if text.count("{instance}") != 1 or re.search(r"[{}]", text.replace("{instance}", "")):
        raise ValueError("should have {instance} in it once, and no other braces")
    return web_address(text)


def printable_line(text: str) -> str:
    """Text that mails, reports and terminals can show."""
    if not text.isprintable():
        raise ValueError("should have no control characters: it stands in mails, reports and terminals")
    return text


def mail_address(text: str) -> str:
    """An address, or empty."""
    if text and ("@" not in text or not text.isprintable()):
        raise ValueError("should be mail addresses, such as xrayq@hospital.example")
    return text


VIEWER_SCHEMES = ("https", "http", "weasis")


def web_address(url: str) -> str:
    """http or https with a host, or empty."""
    if url and (urlsplit(url).scheme not in ("http", "https") or not urlsplit(url).hostname):
        raise ValueError("should be http://... or https://...")
    return url


def viewer_template(url: str) -> str:
    """A URL with {study}, or empty."""
    if not url:
        return url
    if urlsplit(url).scheme not in VIEWER_SCHEMES or "{study}" not in url:
        raise ValueError("should be https://..., http://... or weasis://... with {study} in it")
    if "{" in url.replace("{study}", "") or not (url.isascii() and url.isprintable()) or " " in url:
        raise ValueError("takes {study} alone, and no character that a URL cannot have")
    return url


def issuer(url: str) -> str:
    """Of an OpenID Connect provider. Over plain HTTP anybody on the way could say who signs in."""
    host = urlsplit(web_address(url)).hostname
    if url.startswith("http:") and not is_loopback(host or ""):
        raise ValueError("should be https://...")
    return url


def webhook_key(secret: str) -> bytes:
    """The key that a webhook is signed with: the bytes whose base64 follows `whsec_`, else the text itself.

    The error completes "XRAYQ_WEBHOOK_URL needs XRAYQ_WEBHOOK_SECRET, ...".
    """
    if not secret.startswith(WEBHOOK_PREFIX):
        if len(secret) < LEAST_SECRET:
            raise ValueError(f"{LEAST_SECRET} characters or more")
        return secret.encode()
    coded = secret.removeprefix(WEBHOOK_PREFIX)
    try:
        key = b64decode(coded + "=" * (-len(coded) % 4), validate=True)
    except ValueError:  # of characters, or of their number
        raise ValueError(f"with base64 after {WEBHOOK_PREFIX}") from None
    if len(key) < LEAST_KEY:
        raise ValueError(f"with {LEAST_KEY} bytes or more in base64 after {WEBHOOK_PREFIX}")
    return key


def gate_reasons(names: tuple[str, ...]) -> tuple[str, ...]:
    """Reasons that the gate has."""
    if unknown := sorted(set(names) - set(REASONS)):
        raise ValueError(f"has {', '.join(unknown)}, not a reason of the gate: choose from {', '.join(REASONS)}")
    return names


def views(names: tuple[str, ...]) -> tuple[str, ...]:
    """The views that these names mean. A name that no film bears would score nothing, or what nobody asked for."""
    named = [(name, named_views(name)) for name in names]
    if unknown := [name for name, found in named if not found or not set(found) <= set(VIEWS)]:
        raise ValueError(f"has {', '.join(unknown)}, not a view: choose from {', '.join(VIEWS)}")
    return tuple(dict.fromkeys(view for _, found in named for view in found))
