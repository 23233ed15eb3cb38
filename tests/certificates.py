"""A small certification authority, and PEM files that it signed."""

import ssl
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path

import trustme


@dataclass(kw_only=True)
class Authority:
    """Files end in `folder`."""

    folder: Path
    name: str = "ours"
    _authority: trustme.CA = field(default_factory=trustme.CA)

    @property
    def file(self) -> Path:
        """What its peers trust."""
        path = self.folder / f"{self.name}-authority.pem"
        self._authority.cert_pem.write_to_path(path)
        return path

    def issue(
        self,
        name: str,
        *,
        days: int = 90,
        names: Sequence[str] = ("127.0.0.1", "localhost"),
        common_name: str | None = None,
    ) -> "Certified":
        """
        Args:
            names: hosts that it is for.
            days: until it expires; below 0 it has.
        """
        made = self._authority.issue_cert(
            *names, not_after=datetime.now(UTC) + timedelta(days=days), common_name=common_name
        )
        certified = Certified(
            certificate=self.folder / f"{self.name}-{name}.pem", key=self.folder / f"{self.name}-{name}.key"
        )
        certified.certificate.write_bytes(b"".join(part.bytes() for part in made.cert_chain_pems))
        made.private_key_pem.write_to_path(certified.key)
        return certified


@dataclass(frozen=True, kw_only=True)
class Certified:
    """Who has a certificate, and its key."""

    certificate: Path
    key: Path

    def as_server(self, trusted: Authority, *, asks: bool = True) -> ssl.SSLContext:
        """
        Args:
            asks: for a certificate of `trusted`.
        """
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(self.certificate, self.key)
        context.load_verify_locations(trusted.file)
        context.verify_mode = ssl.CERT_REQUIRED if asks else ssl.CERT_NONE
        return context
