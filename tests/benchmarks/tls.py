"""Receiving with and without TLS: our gateway and DCMTK's storescp, all fed by DCMTK's storescu.

Sender and receiver run on the same cores, and TLS costs both of them: the sender's half is the same for both receivers.
Each connects with a certificate of its own (TLS 1.3, AES-GCM with DCMTK 3.6.7).
"""

import os
import time
from collections.abc import Callable
from contextlib import ExitStack
from itertools import count
from pathlib import Path
from tempfile import TemporaryDirectory

from pydicom import uid

from tests.benchmarks.films import renew, write_set
from tests.benchmarks.processes import gateway, storescp, storescu
from tests.benchmarks.report import Row, Section, interleave, ratio, spread
from tests.certificates import Authority, Certified
from tests.phantoms import chest_film, chest_pixels
from worker.demo import free_port

ROWS, COLUMNS = 2500, 2048
OURS, OURS_TLS = "xrayq gateway", "xrayq gateway, TLS"
DCMTK, DCMTK_TLS = "DCMTK storescp", "DCMTK storescp, TLS"


def run(*, quick: bool) -> list[Section]:
    films, rounds = (10, 3) if quick else (40, 7)
    with TemporaryDirectory(prefix="xrayq-bench-") as name, ExitStack() as stack:
        folder = Path(name)
        authority = Authority(folder=folder)
        own, sender = authority.issue("receiver"), authority.issue("sender")
        secure = free_port()
        settings = {
            "XRAYQ_TLS_PORT": str(secure),
            "XRAYQ_TLS_CERTIFICATE": str(own.certificate),
            "XRAYQ_TLS_KEY": str(own.key),
            "XRAYQ_TLS_AUTHORITIES": str(authority.file),
        }
        port, _ = stack.enter_context(gateway(folder / "home", **settings))
        plain, _ = stack.enter_context(storescp(folder / "plain"))
        encrypted, _ = stack.enter_context(storescp(folder / "tls", *_tls(own, authority)))
        spool, as_sender = folder / "home" / "spool", _tls(sender, authority)
        write_set(
            folder / "films", chest_film(pixels=chest_pixels(ROWS, COLUMNS)), films, syntax=uid.ExplicitVRLittleEndian
        )
        generations = count(1)

        def contestant(port: int, output: Path, words: tuple[str, ...] = ()) -> Callable[[], float]:
            def measure() -> float:
                generation = next(generations)
                renew(folder / "films", generation - 1, generation)
                os.sync()  # nobody pays for what another left to be written
                started = time.perf_counter()
                storescu(port, [folder / "films"], folder / "storescu.log", words=words)
                seconds = time.perf_counter() - started
                _empty(output, films)
                return films * ROWS * COLUMNS * 2 / 1e6 / seconds

            return measure

        contestants = {
            OURS: contestant(port, spool),
            OURS_TLS: contestant(secure, spool, as_sender),
            DCMTK: contestant(plain, folder / "plain"),
            DCMTK_TLS: contestant(encrypted, folder / "tls", as_sender),
        }
        interleave(contestants, 1)  # warm up
        rates = interleave(contestants, rounds)
    rows: list[Row] = [{"measure": f"{one}, MB/s", "value": spread(rates[one])} for one in contestants]
    pairs = [(OURS_TLS, OURS), (DCMTK_TLS, DCMTK), (OURS, DCMTK), (OURS_TLS, DCMTK_TLS)]
    rows += [{"measure": f"{one} / {other}", "value": ratio(rates[one], rates[other])} for one, other in pairs]
    return [Section(title="receive with TLS", rows=rows, note=f"{films} films of 10 MB a round, {rounds} rounds")]


def _tls(certified: Certified, authority: Authority) -> tuple[str, ...]:
    return "+tls", str(certified.key), str(certified.certificate), "+cf", str(authority.file)


def _empty(output: Path, expected: int) -> None:
    """Count what arrived and remove it. Raises RuntimeError when films are missing."""
    files = [path for path in output.rglob("*") if path.is_file()]
    if len(files) != expected:
        raise RuntimeError(f"{len(files)} of {expected} films arrived")
    for path in files:
        path.unlink()
