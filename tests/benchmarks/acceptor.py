"""Why the gateway has an acceptor of its own: idle peers and one large film, beside a plain pynetdicom receiver.

A PACS keeps associations open between films. Measured while so many are idle: processor time of the receiver, and how
long one more peer waits for its C-ECHO. Then one large film: memory before it and at most.
"""

import os
import resource
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
from pydicom import uid

from dicom_gateway.scu import PeerUnavailable, echo
from tests.benchmarks.films import write_set
from tests.benchmarks.processes import gateway, peak_rss_mb, plain_receiver, storescu
from tests.benchmarks.report import Cell, Row, Section, spread
from tests.phantoms import chest_film, chest_pixels
from tests.protocol.raw import ASSOCIATE_AC, Peer, associate_rq

IDLE = {"xrayq gateway": (0, 30, 100, 200, 990), "pynetdicom": (0, 30, 100, 200)}
"""The gateway lets 1,000 in. pynetdicom takes some 20 s to let 200 in, and more for each further one."""
SECONDS, ECHOES = 5.0, 15
LARGE = 10
"""So many times a film's rows and columns: 300 MB."""


def run(*, quick: bool) -> list[Section]:
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    idle, large = [], []
    with TemporaryDirectory(prefix="xrayq-bench-") as name, ExitStack() as stack:
        folder = Path(name)
        receivers = {
            "xrayq gateway": stack.enter_context(gateway(folder / "home")),
            "pynetdicom": stack.enter_context(plain_receiver(folder / "plain")),
        }
        film = chest_film(pixels=np.tile(chest_pixels(1200, 1250), (LARGE, LARGE)))
        write_set(folder / "large", film, 1, syntax=uid.ExplicitVRLittleEndian)
        for receiver, (port, pid) in receivers.items():
            row: Row = {"receiver": receiver, "RSS before, MB": _rss_mb(pid)}
            storescu(port, [folder / "large"], folder / "storescu.log")
            large.append(row | {"peak RSS, MB": peak_rss_mb(pid)})
        for receiver, (port, pid) in receivers.items():
            for number in IDLE[receiver][: 3 if quick else None]:
                with _idle_peers(port, number) as let_in:
                    idle.append({"receiver": receiver, "idle peers": let_in, **_measure(port, pid)})
    return [
        Section(title=f"one film of {len(film.PixelData) / 1e6:.0f} MB", rows=large),
        Section(title="idle peers", rows=idle, note=f"{SECONDS:g} s of rest, then {ECHOES} C-ECHOs one by one"),
    ]


@contextmanager
def _idle_peers(port: int, number: int) -> Iterator[int]:
    """So many associations that say nothing; yields how many were accepted."""
    with ExitStack() as stack:
        let_in = 0
        for _ in range(number):
            peer = stack.enter_context(Peer(port, timeout=30))
            peer.send(associate_rq())
            answer = peer.receive()
            let_in += answer is not None and answer.kind == ASSOCIATE_AC
        yield let_in


def _measure(port: int, pid: int) -> dict[str, Cell]:
    time.sleep(1)  # what the last association left to do
    before, started = _cpu_seconds(pid), time.monotonic()
    time.sleep(SECONDS)
    cores = (_cpu_seconds(pid) - before) / (time.monotonic() - started)
    waits = []
    for _ in range(ECHOES):
        asked = time.perf_counter()
        try:
            echo("127.0.0.1", port, called_ae="XRAYQ", timeout=10)
        except PeerUnavailable:
            break
        waits.append(1000 * (time.perf_counter() - asked))
    return {"cores": cores, "C-ECHO, ms": spread(waits) if waits else "no answer", "RSS, MB": _rss_mb(pid)}


def _cpu_seconds(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def _rss_mb(pid: int) -> float:
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return int(next(line for line in lines if line.startswith("VmRSS")).split()[1]) * 1024 / 1e6
