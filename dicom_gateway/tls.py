"""TLS for associations (PS3.15 Annex B): certificates from PEM files, and the two profiles that are offered.

    profile           PS3.15  versions       cipher suites of TLS 1.2
    bcp195            B.12    TLS 1.2, 1.3   ephemeral ECDH with AES-GCM or ChaCha20-Poly1305 (RFC 9325 4.2)
    non-downgrading   B.10    TLS 1.2, 1.3   these, and ephemeral DH with AES-GCM, which B.10 asks a server for

Neither goes down to TLS 1.1. RFC 9325 advises against ephemeral DH (4.1), so it is offered in the older profile alone,
with the group ffdhe3072 of RFC 7919.
"""

import hashlib
import logging
import ssl
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import StrEnum
from pathlib import Path

from cryptography import x509

from dicom_gateway.errors import BadCertificate
from dicom_gateway.peers import Certificate

log = logging.getLogger("xrayq.gateway")

PREFERRED_PORT = 2762
"""dicom-tls, as IANA has it."""
GROUP = Path(__file__).with_name("ffdhe3072.pem")


class Profile(StrEnum):
    BCP195 = "bcp195"
    NON_DOWNGRADING = "non-downgrading"


SUITES = {
    Profile.BCP195: "ECDHE+AESGCM:ECDHE+CHACHA20",
    Profile.NON_DOWNGRADING: "ECDHE+AESGCM:ECDHE+CHACHA20:DHE+AESGCM:!DSS:!PSK",
}


class Clients(StrEnum):
    """Whether who connects has to show a certificate."""

    ANY = "any"
    """None is asked for."""
    CERTIFIED = "certified"
    """One that an authority of ours signed."""


VERIFY = {Clients.ANY: ssl.CERT_NONE, Clients.CERTIFIED: ssl.CERT_REQUIRED}


@dataclass(frozen=True, kw_only=True)
class TlsOptions:
    """Whose certificate we show, and whose we trust. PEM files."""

    certificate: Path
    """Ours, and those between it and the root."""
    key: Path
    """Its private key, not encrypted: guard it by the file's mode."""
    authorities: Path | None = None
    """Who signs our peers' certificates; needed where `clients` is certified."""
    clients: Clients = Clients.CERTIFIED
    profile: Profile = Profile.BCP195

    @property
    def files(self) -> tuple[Path, ...]:
        return (self.certificate, self.key, *([self.authorities] if self.authorities else []))


@dataclass(frozen=True, kw_only=True)
class CertificateFacts:
    """What a person asks of our certificate."""

    expires: datetime
    subject: str

    def days_left(self, now: datetime) -> float:
        return (self.expires - now).total_seconds() / 86400


def facts_of(certificate: Path) -> CertificateFacts:
    """Of the first certificate in the file. Raises BadCertificate."""
    try:
        (first, *_) = x509.load_pem_x509_certificates(certificate.read_bytes())
    except (OSError, ValueError) as error:
        raise BadCertificate(f"{certificate} cannot be read: {_why(error)}") from None
    return CertificateFacts(expires=first.not_valid_after_utc, subject=first.subject.rfc4514_string())


def shown(der: bytes) -> Certificate:
    """What a peer showed. One whose subject cannot be read is known by its digest alone."""
    try:
        subject = x509.load_der_x509_certificate(der).subject.rfc4514_string()
    except ValueError:
        subject = ""
    return Certificate(subject=subject, sha256=hashlib.sha256(der).hexdigest())


def subject_of(text: str) -> str:
    """A subject as RFC 4514 writes it, in the spelling that `shown` has. Raises ValueError where it is none."""
    return x509.Name.from_rfc4514_string(text).rfc4514_string()


@dataclass(frozen=True, kw_only=True)
class ClientOptions:
    """As requestor: whom we trust, and what we show where it is asked for. PEM files."""

    authorities: Path
    """Who signs our peers' certificates."""
    certificate: Path | None = None
    key: Path | None = None
    profile: Profile = Profile.BCP195
    check_host: bool = True
    """Whether a peer's certificate must name the host that we call (RFC 9325 6.1)."""

    @property
    def files(self) -> tuple[Path, ...]:
        return tuple(path for path in (self.authorities, self.certificate, self.key) if path)


def server_context(options: TlsOptions) -> ssl.SSLContext:
    """Raises BadCertificate where a file is missing, is no PEM, or key and certificate do not belong together."""
    context = _context(ssl.PROTOCOL_TLS_SERVER, options.profile)
    context.options |= ssl.OP_CIPHER_SERVER_PREFERENCE
    if options.profile is Profile.NON_DOWNGRADING:
        context.load_dh_params(str(GROUP))
    _show(context, options.certificate, options.key)
    if options.authorities:
        _trust(context, options.authorities)
    elif options.clients is Clients.CERTIFIED:
        raise BadCertificate("no authorities are named, so no peer's certificate could be checked")
    context.verify_mode = VERIFY[options.clients]
    return context


def client_context(options: ClientOptions) -> ssl.SSLContext:
    """Raises as `server_context`."""
    context = _context(ssl.PROTOCOL_TLS_CLIENT, options.profile)
    context.check_hostname = options.check_host
    _trust(context, options.authorities)
    if options.certificate and options.key:
        _show(context, options.certificate, options.key)
    return context


def own_context(options: TlsOptions) -> ssl.SSLContext:
    """As requestor of our own port, to check it: it must show our certificate, and gets the same where it asks for one.

    The host is not compared: we call an address of this machine, and the certificate names what peers call.

    Raises as `server_context`.
    """
    context = _context(ssl.PROTOCOL_TLS_CLIENT, options.profile)
    context.check_hostname = False
    context.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN  # ours is trusted itself, and no root behind it
    _trust(context, options.certificate)
    _show(context, options.certificate, options.key)
    return context


class Followed:
    """The context that new associations get. It follows its files: an association that is open keeps what it has."""

    def __init__(self, files: Sequence[Path], make: Callable[[], ssl.SSLContext]) -> None:
        """Raises BadCertificate."""
        self._files = files
        self._make = make
        self._lock = threading.Lock()
        self._seen = self._stamps()
        self._context = make()

    def context(self) -> ssl.SSLContext:
        """Files that changed and cannot be used are logged, and what was loaded before stays: a certificate and its key
        are seldom replaced in the same moment."""
        with self._lock:
            seen = self._stamps()
            if seen != self._seen:
                self._seen = seen
                try:
                    self._context = self._make()
                    log.info("certificates loaded anew")
                except BadCertificate as error:
                    log.error("certificates not loaded, those before stay", extra={"reason": str(error)})
            return self._context

    def _stamps(self) -> list[tuple[int, int, int] | None]:
        """What tells one version of the files from another."""
        return [_stamp(path) for path in self._files]


def server_tls(options: TlsOptions) -> Followed:
    """Raises BadCertificate."""
    return Followed(options.files, lambda: server_context(options))


def client_tls(options: ClientOptions) -> Followed:
    """Raises BadCertificate."""
    return Followed(options.files, lambda: client_context(options))


def own_tls(options: TlsOptions) -> Followed:
    """Raises BadCertificate."""
    return Followed(options.files, lambda: own_context(options))


def _context(protocol: int, profile: Profile) -> ssl.SSLContext:
    context = ssl.SSLContext(protocol)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.options |= ssl.OP_NO_RENEGOTIATION | ssl.OP_NO_COMPRESSION
    context.set_ciphers(SUITES[profile])
    return context


def _show(context: ssl.SSLContext, certificate: Path, key: Path) -> None:
    try:
        context.load_cert_chain(certificate, key, password=_no_password)
    except (OSError, ValueError) as error:
        raise BadCertificate(f"{certificate} and {key}: {_why(error)}") from None


def _trust(context: ssl.SSLContext, authorities: Path) -> None:
    try:
        context.load_verify_locations(authorities)
    except (OSError, ValueError) as error:
        raise BadCertificate(f"{authorities}: {_why(error)}") from None


def days_left(certificate: Path) -> float:
    """Until our certificate expires; below 0 it has. Raises BadCertificate."""
    return facts_of(certificate).days_left(datetime.now(UTC))


def _stamp(path: Path) -> tuple[int, int, int] | None:
    try:
        found = path.stat()
    except OSError:
        return None
    return found.st_mtime_ns, found.st_size, found.st_ino


def _no_password() -> str:
    """Asked for where a key is encrypted; OpenSSL would ask the terminal."""
    raise ValueError("the key is encrypted")


def _why(error: Exception) -> str:
    if isinstance(error, ssl.SSLError):
        return (error.reason or "no PEM").replace("_", " ").lower()
    return (error.strerror if isinstance(error, OSError) else str(error).split("\n")[0]) or type(error).__name__
