"""What a C-ECHO that fails says: who was asked for what."""

from collections.abc import Callable

import pytest

from dicom_gateway.errors import PeerUnavailable, Rejected
from dicom_gateway.scu import echo
from tests.protocol.conftest import Node
from tests.services import free_port


def test_a_rejection_names_the_title(start: Callable[..., Node]) -> None:
    port = start(require_called_ae=True, calling_aes=("KNOWN",)).port
    with pytest.raises(Rejected, match=rf"^127.0.0.1:{port} does not answer to the AE title OTHER$"):
        echo("127.0.0.1", port, called_ae="OTHER", calling_ae="KNOWN")
    with pytest.raises(Rejected, match=rf"^127.0.0.1:{port} does not let the calling AE title STRANGER in$"):
        echo("127.0.0.1", port, called_ae="XRAYQ", calling_ae="STRANGER")
    echo("127.0.0.1", port, called_ae="XRAYQ", calling_ae="KNOWN")


def test_nobody_and_no_host_are_told_apart() -> None:
    port = free_port()
    with pytest.raises(PeerUnavailable, match=f"^nobody listens on 127.0.0.1:{port}$"):
        echo("127.0.0.1", port, called_ae="XRAYQ")
    with pytest.raises(PeerUnavailable, match=r"^no host no-such-host.invalid is known$"):
        echo("no-such-host.invalid", port, called_ae="XRAYQ")
