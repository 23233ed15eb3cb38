"""A repository that lies, drips, hangs or is somebody else's: a reason within the time, and nothing counts as sent."""

import socket
import threading
import time
from pathlib import Path

import pytest

from dicom_gateway.tls import Clients, TlsOptions, server_context
from tests.audit_repository import DIES, DRIPS, HANGS, NO_CLOSE, AuditRepository, audit_repository
from tests.certificates import Authority
from tests.integration.audit_messages.conftest import tls_to
from tests.services import free_port, wait_until
from worker.audit_messages.transport import UdpRepository
from worker.errors import Undelivered


@pytest.mark.parametrize("does", [HANGS, DRIPS])
def test_time_is_up(repository: AuditRepository, authority: Authority, does: str) -> None:
    repository.does = [does]
    begun = time.monotonic()
    with pytest.raises(Undelivered) as failure:
        tls_to(repository.port, authority, seconds=0.5).send([b"x"])
    assert str(failure.value) in ("no_answer", "no_tls")
    assert time.monotonic() - begun < 5


def test_an_end_without_close_notify_is_one(repository: AuditRepository, authority: Authority) -> None:
    """As of rsyslog's GnuTLS driver."""
    repository.does = [NO_CLOSE]
    tls_to(repository.port, authority).send([b"one"])
    assert repository.came == [b"one"]


@pytest.mark.parametrize("length", [10, 1 << 20])
def test_who_hangs_up_before_it_has_read_everything_gets_it_again(
    repository: AuditRepository, authority: Authority, length: int
) -> None:
    repository.does = [DIES] * 20
    for _ in range(20):
        with pytest.raises(Undelivered, match="hung_up"):
            tls_to(repository.port, authority).send([b"one", bytes(length)])


def test_who_reads_nothing_is_left(authority: Authority) -> None:
    """The handshake is done, and the connection's buffers are all that takes something."""
    shown = authority.issue("repository")
    context = server_context(TlsOptions(certificate=shown.certificate, key=shown.key, authorities=authority.file))
    with socket.create_server(("127.0.0.1", 0)) as listener:
        kept: list[object] = []

        def accept() -> None:
            plain, _ = listener.accept()
            kept.append(context.wrap_socket(plain, server_side=True))

        threading.Thread(target=accept, daemon=True).start()
        with pytest.raises(Undelivered, match="no_answer"):
            tls_to(listener.getsockname()[1], authority, seconds=1).send([bytes(1 << 20)] * 32)


def test_who_is_trusted(repository: AuditRepository, authority: Authority, tmp_path: Path) -> None:
    foreign = Authority(folder=tmp_path, name="foreign")
    tls_to(repository.port, authority).send([b"one", b"two"])
    assert repository.came == [b"one", b"two"]
    with pytest.raises(Undelivered, match="untrusted"):
        tls_to(repository.port, foreign).send([b"three"])
    with pytest.raises(Undelivered, match=r"no_tls|hung_up"):
        tls_to(repository.port, authority, certified=False).send([b"four"])
    with audit_repository(authority, name="open", clients=Clients.ANY) as asks_nobody:
        tls_to(asks_nobody.port, authority, certified=False).send([b"five"])
        assert asks_nobody.came == [b"five"]
    with pytest.raises(Undelivered, match="no_connection"):
        tls_to(free_port(), authority).send([b"six"])
    assert repository.came == [b"one", b"two"]


def test_datagrams() -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as there:
        there.bind(("127.0.0.1", 0))
        to = UdpRepository(host="127.0.0.1", port=there.getsockname()[1])
        to.send([b"one", b"two"])
        assert [there.recv(100), there.recv(100)] == [b"one", b"two"]
        with pytest.raises(Undelivered, match="too_long"):
            to.send([bytes(70_000)])

    def told_that_nobody_listens() -> bool:
        try:
            to.send([b"three"] * 3)
        except Undelivered as failure:
            return str(failure) == "no_connection"
        return False

    assert wait_until(told_that_nobody_listens)
