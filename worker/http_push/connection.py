"""One connection of a peer: uvicorn's, with a request that has to come in time, and comes alone."""

import asyncio
from email.utils import formatdate
from typing import Any

from uvicorn.config import Config
from uvicorn.protocols.http.h11_impl import H11Protocol
from uvicorn.server import ServerState

from dicom_gateway.peers import Certificate
from dicom_gateway.tls import shown

REQUEST_SECONDS = 10.0
"""From the connection, or its TLS handshake, to the last byte of a request's headers."""
LEAVE_SECONDS = 10.0


class PushConnection(H11Protocol):
    """Serves one request. Who cannot be told from others by what it sends is closed soon."""

    def __init__(self, config: Config, address: str) -> None:
        state = ServerState()
        state.default_headers = [(b"date", formatdate(usegmt=True).encode())]
        super().__init__(config, state, {"connection": self})
        self.address = address
        self.common_name = ""
        """Of the certificate that the peer showed."""
        self.certificate: Certificate | None = None
        self.admitted = False
        """Whether it may push; one that may not gives way first."""
        self.closed = asyncio.Event()
        self._timer: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        self.common_name = _common_name(transport.get_extra_info("peercert"))
        tls = transport.get_extra_info("ssl_object")
        der = tls.getpeercert(binary_form=True) if tls else None
        self.certificate = shown(der) if der else None
        self._timer = self.loop.call_later(REQUEST_SECONDS, transport.abort)

    def data_received(self, data: bytes) -> None:
        super().data_received(data)
        if self.cycle and self._timer:  # the headers are whole
            self._timer.cancel()

    def connection_lost(self, exc: Exception | None) -> None:
        super().connection_lost(exc)
        if self._timer:
            self._timer.cancel()
        self.closed.set()

    def leave(self) -> None:
        """Its request was answered: what the peer has not taken soon it does not get."""
        self._timer = self.loop.call_later(LEAVE_SECONDS, self.transport.abort)


def _common_name(certificate: dict[str, Any] | None) -> str:
    names = [value for rdn in (certificate or {}).get("subject", ()) for key, value in rdn if key == "commonName"]
    return str(names[0]) if len(names) == 1 else ""
