"""What a C-ECHO that fails says: who was asked for what. Over TLS DCMTK is asked."""

import os
import socket
import ssl
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest

from dicom_gateway.errors import NoTls, PeerUnavailable, Rejected
from dicom_gateway.scu import echo
from dicom_gateway.tls import ClientOptions, TlsOptions, client_context, own_tls
from tests.certificates import Authority, Certified
from tests.protocol.conftest import Node
from tests.services import free_port, listening, tool, wait_until


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


def test_a_name_of_many_addresses_has_no_more_time(monkeypatch: pytest.MonkeyPatch) -> None:
    """None of them answers to a connection: the queue of who listens is full."""
    with socket.create_server(("127.0.0.1", 0), backlog=0) as full, ExitStack() as waiting:
        address = full.getsockname()
        for _ in range(4):
            one = waiting.enter_context(socket.socket())
            one.setblocking(False)
            one.connect_ex(address)
        found = [(socket.AF_INET, socket.SOCK_STREAM, 0, "", address)] * 4
        monkeypatch.setattr(socket, "getaddrinfo", lambda *_, **__: found)
        begun = time.monotonic()
        with pytest.raises(PeerUnavailable, match=r"^no answer to C-ECHO"):
            echo("pacs.test", address[1], called_ae="PACS", timeout=0.5)
        assert time.monotonic() - begun < 1.0


@contextmanager
def dcmtk(shown: Certified | None, trusted: Authority) -> Iterator[int]:
    """DCMTK's storescp, which is a Verification SCP too. It asks for a certificate; None: it is without TLS."""
    port = free_port()
    words = ["+tls", shown.key, shown.certificate, "+cf", trusted.file] if shown else []
    command = [str(word) for word in [tool("storescp"), "--ignore", *words, port]]
    served = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        wait_until(lambda: listening(port), 10, "storescp")
        yield port
    finally:
        served.terminate()
        served.wait(timeout=10)


def context(trusted: Authority, shown: Certified | None) -> ssl.SSLContext:
    certified = {"certificate": shown.certificate, "key": shown.key} if shown else {}
    return client_context(ClientOptions(authorities=trusted.file, **certified))


@pytest.mark.parametrize(
    ("fault", "words"),
    [
        ("", ""),
        ("the peer's is expired", "no TLS with 127.0.0.1:{port}: certificate has expired"),
        ("the peer's is foreign", "no TLS with 127.0.0.1:{port}: unable to get local issuer certificate"),
        ("ours is foreign", "(no TLS with|no answer to C-ECHO from) 127.0.0.1:{port}(: |, which may not)"),
        ("ours is missing", "(no TLS with|no answer to C-ECHO from) 127.0.0.1:{port}(: |, which may not)"),
        ("the peer has no TLS", "no TLS with 127.0.0.1:{port}: closed"),
    ],
)
def test_over_tls_both_sides_show_a_certificate(tmp_path: Path, fault: str, words: str) -> None:
    ours, foreign = Authority(folder=tmp_path), Authority(folder=tmp_path, name="foreign")
    peer = {
        "the peer's is expired": ours.issue("old", days=-1),
        "the peer's is foreign": foreign.issue("pacs"),
        "the peer has no TLS": None,
    }.get(fault, ours.issue("pacs"))
    shown = {"ours is foreign": foreign.issue("xrayq"), "ours is missing": None}.get(fault, ours.issue("xrayq"))
    with dcmtk(peer, ours) as port:
        if not fault:
            echo("127.0.0.1", port, called_ae="PACS", tls=context(ours, shown))
            return
        with pytest.raises(PeerUnavailable, match="^" + words.format(port=port)):
            echo("127.0.0.1", port, called_ae="PACS", timeout=2, tls=context(ours, shown))


def test_a_gateway_asks_itself_over_tls_whatever_its_certificate_is_called(
    start: Callable[..., Node], tmp_path: Path
) -> None:
    """With more descriptors open than select() knows; and with the certificate that took the place of the first."""
    authority = Authority(folder=tmp_path)
    own = authority.issue("xrayq", names=("xrayq.hospital.example",))
    options = TlsOptions(certificate=own.certificate, key=own.key, authorities=authority.file)
    node, ourselves = start(port=None, tls_port=0, tls=options), own_tls(options)
    with pytest.raises(RuntimeError):
        _ = node.port
    with ExitStack() as stack:
        while stack.enter_context(Path(os.devnull).open()).fileno() < 1024:
            pass
        echo("127.0.0.1", node.gateway.tls_port, called_ae="XRAYQ", tls=ourselves.context())
    before = ourselves.context()
    other = authority.issue("other", names=("xrayq.hospital.example",))
    own.certificate.write_bytes(other.certificate.read_bytes())
    own.key.write_bytes(other.key.read_bytes())
    echo("127.0.0.1", node.gateway.tls_port, called_ae="XRAYQ", tls=ourselves.context())
    with pytest.raises(NoTls, match="certificate"):
        echo("127.0.0.1", node.gateway.tls_port, called_ae="XRAYQ", tls=before)
