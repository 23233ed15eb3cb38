"""What bad peers cost the others: one more peer's C-ECHO meanwhile, and what is left of memory and descriptors after.

Each load comes twice: what the first one leaves may be what threads and their heaps cost once, and a leak grows again.
"""

import resource
import secrets
import socket
import ssl
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

from pydicom.uid import generate_uid

from dicom_gateway.errors import PeerUnavailable
from dicom_gateway.scu import echo
from tests.benchmarks.processes import add_peer, gateway
from tests.benchmarks.report import Row, Section, Spread, spread
from tests.certificates import Authority
from tests.phantoms import chest_film, chest_pixels
from tests.protocol.raw import ECHO_CONTEXT, associate_rq, dataset_bytes, store_command, store_fragments
from worker.demo import free_port, wait_for

ECHOES = 20
HALF_PDU = associate_rq()[:40]
HALF_COMMAND = b"\x04\0\0\0\0\x40" + b"\0\0\0\x3c" + bytes((ECHO_CONTEXT, 3)) + bytes(20)
SETTLE_SECONDS = 60
DRIP_SECONDS = 0.5
DATABASE = "/xrayq.db"
HURRY = "HURRY"
FILMS_AT_ONCE = 10


@dataclass(frozen=True, kw_only=True)
class Held:
    """By a process."""

    descriptors: int
    """Without those of the database: its pool opens a connection more where two write at once, and keeps it."""
    threads: int
    megabytes: int


@dataclass(frozen=True, kw_only=True)
class Cost:
    before: Held
    during: Held
    after: Held
    waits: Spread
    """Milliseconds for a C-ECHO; infinite where none was answered within 10 s."""


@dataclass(frozen=True, kw_only=True)
class Attacked:
    """A gateway."""

    port: int
    secure: int
    pid: int
    client: ssl.SSLContext
    """One that it lets in."""

    def held(self) -> Held:
        status = dict(line.split(":", 1) for line in Path(f"/proc/{self.pid}/status").read_text().splitlines())
        return Held(
            descriptors=sum(DATABASE not in name for name in _open(self.pid)),
            threads=int(status["Threads"]),
            megabytes=round(int(status["VmRSS"].split()[0]) * 1024 / 1e6),
        )


class Load:
    """Connections to one gateway; all are closed by `stack`."""

    def __init__(self, target: Attacked, stack: ExitStack) -> None:
        self._port, self._secure, self._client = target.port, target.secure, target.client
        self._stack = stack

    def half_requests(self, number: int) -> None:
        """Half an A-ASSOCIATE-RQ, and then nothing."""
        for _ in range(number):
            self._connect(self._port).sendall(HALF_PDU)

    def half_commands(self, number: int) -> None:
        """An association, half a command, and then nothing."""
        for _ in range(number):
            peer = self._connect(self._port)
            peer.sendall(associate_rq())
            peer.recv(4096)
            peer.sendall(HALF_COMMAND)

    def garbage(self, number: int) -> None:
        """Bytes by chance, to both ports."""
        for turn in range(number):
            with suppress(OSError):
                self._connect((self._port, self._secure)[turn % 2]).sendall(secrets.token_bytes(4096))

    def wrong_peers(self, number: int) -> None:
        """Requests that are rejected: an application context that is not DICOM's."""
        for _ in range(number):
            with suppress(OSError):
                peer = self._connect(self._port)
                peer.sendall(associate_rq(application="1.2.3"))
                peer.recv(64)

    def slow_handshakes(self, number: int) -> None:
        """A TLS handshake of which a byte comes each half second."""
        hello = _client_hello(self._client)
        peers = [self._connect(self._secure) for _ in range(number)]
        over = threading.Event()

        def drip() -> None:
            for place in range(len(hello)):
                for peer in peers:
                    with suppress(OSError):
                        peer.send(hello[place : place + 1])
                if over.wait(DRIP_SECONDS):
                    return

        thread = threading.Thread(target=drip)
        thread.start()
        self._stack.callback(thread.join)
        self._stack.callback(over.set)

    def idle_tls(self, number: int) -> None:
        """Associations over TLS that say nothing."""
        for _ in range(number):
            peer = self._client.wrap_socket(self._connect(self._secure), server_hostname="127.0.0.1")
            self._stack.callback(peer.close)
            peer.sendall(associate_rq())
            peer.recv(4096)

    def rate_breakers(self, number: int) -> None:
        """Associations of a peer that may have 10, and send a film a second: each sends ten at once."""
        film = dataset_bytes(chest_film(pixels=chest_pixels(64, 64)))
        for _ in range(number):
            peer = self._connect(self._port)
            peer.sendall(associate_rq(calling=HURRY))
            peer.recv(4096)
            with suppress(OSError):  # rejected
                for message in range(FILMS_AT_ONCE):
                    peer.sendall(store_command(generate_uid(), message_id=message + 1))
                    peer.sendall(b"".join(store_fragments(film)))

    def everything(self, number: int) -> None:
        """All of them at once."""
        self.idle_tls(number)
        for kind in (
            self.half_requests,
            self.half_commands,
            self.garbage,
            self.wrong_peers,
            self.slow_handshakes,
            self.rate_breakers,
        ):
            kind(number // 10)

    def _connect(self, port: int) -> socket.socket:
        return self._stack.enter_context(socket.create_connection(("127.0.0.1", port), timeout=30))


LOADS: dict[str, tuple[int, Callable[[Load, int], None]]] = {
    "200 times half an A-ASSOCIATE-RQ": (200, Load.half_requests),
    "200 times half a command": (200, Load.half_commands),
    "400 times bytes by chance": (400, Load.garbage),
    "400 rejected peers": (400, Load.wrong_peers),
    "60 slow TLS handshakes": (60, Load.slow_handshakes),
    "100 rate breakers": (100, Load.rate_breakers),
    "500 idle over TLS": (500, Load.idle_tls),
    "500 idle over TLS, and 50 of each other": (500, Load.everything),
}


def run(*, quick: bool) -> list[Section]:
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    rows: list[Row] = []
    with started() as target:
        for name, (number, load) in LOADS.items():
            for _ in range(1 if quick else 2):
                cost = measure(target, load, number // (4 if quick else 1))
                three = cost.before, cost.during, cost.after
                rows.append(
                    {
                        "load": name,
                        "C-ECHO, ms": cost.waits,
                        "descriptors": " / ".join(str(held.descriptors) for held in three),
                        "threads": " / ".join(str(held.threads) for held in three),
                        "memory, MB": " / ".join(str(held.megabytes) for held in three),
                    }
                )
    note = f"before / during / after; {ECHOES} C-ECHOs one by one"
    return [Section(title="bad peers", rows=rows, note=note)]


@contextmanager
def started() -> Iterator[Attacked]:
    """A gateway with both ports, which has answered before."""
    with TemporaryDirectory(prefix="xrayq-bench-") as name, ExitStack() as stack:
        folder, secure = Path(name), free_port()
        authority = Authority(folder=folder)
        own, peer = authority.issue("xrayq"), authority.issue("peer")
        client = ssl.create_default_context(cafile=authority.file)
        client.load_cert_chain(peer.certificate, peer.key)
        settings = {
            "XRAYQ_TLS_PORT": str(secure),
            "XRAYQ_TLS_CERTIFICATE": str(own.certificate),
            "XRAYQ_TLS_KEY": str(own.key),
            "XRAYQ_TLS_AUTHORITIES": str(authority.file),
        }
        port, pid = stack.enter_context(gateway(folder / "home", **settings))
        add_peer(folder / "home", HURRY, "--network=127.0.0.1", "--per-minute=60", "--associations=10")
        _echoes(port)
        yield Attacked(port=port, secure=secure, pid=pid, client=client)


def measure(target: Attacked, load: Callable[["Load", int], None], number: int) -> Cost:
    before = target.held()
    with ExitStack() as stack:
        load(Load(target, stack), number)
        waits = _echoes(target.port)
        during = target.held()

    def let_go() -> bool:
        held = target.held()
        return held.descriptors <= before.descriptors and held.threads <= before.threads

    wait_for(let_go, SETTLE_SECONDS, "the gateway does not let go of its peers")
    return Cost(before=before, during=during, after=target.held(), waits=spread(waits))


def _echoes(port: int) -> list[float]:
    """Milliseconds, each on an association of its own. Infinite where none was answered within 10 s."""
    waits = []
    for _ in range(ECHOES):
        asked = time.perf_counter()
        try:
            echo("127.0.0.1", port, called_ae="XRAYQ", timeout=10)
            waits.append(1000 * (time.perf_counter() - asked))
        except PeerUnavailable:
            waits.append(float("inf"))
    return waits


def _open(pid: int) -> Iterator[str]:
    """What its descriptors are of; one that is closed meanwhile is left out."""
    for descriptor in Path(f"/proc/{pid}/fd").iterdir():
        with suppress(FileNotFoundError):
            yield str(descriptor.readlink())


def _client_hello(client: ssl.SSLContext) -> bytes:
    incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
    begun = client.wrap_bio(incoming, outgoing, server_hostname="127.0.0.1")
    with suppress(ssl.SSLWantReadError):
        begun.do_handshake()
    return outgoing.read()
