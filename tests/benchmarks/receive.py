"""Our gateway beside DCMTK's storescp and a plain pynetdicom receiver, all fed by DCMTK's storescu.

The gateway syncs every film and its directory and commits to SQLite before it answers; pynetdicom syncs the file;
storescp syncs nothing. The clock runs while storescu does, its start included.
"""

import os
import time
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from tempfile import TemporaryDirectory

from pydicom import uid

from tests.benchmarks.films import renew, write_set
from tests.benchmarks.processes import gateway, peak_rss_mb, plain_receiver, storescp, storescu
from tests.benchmarks.report import Row, Section, Target, interleave, ratio, spread
from tests.phantoms import chest_film, chest_pixels

LEAST_RATIO, MOST_MB = 0.6, 150.0
OURS, DCMTK, PLAIN = "xrayq gateway", "DCMTK storescp", "pynetdicom"


@dataclass(frozen=True, kw_only=True)
class Load:
    """What is sent in one measure."""

    name: str
    rows: int
    columns: int
    associations: int
    films: int
    """On each association."""
    unit: str
    held: bool = False
    """Whether the targets are for this load."""

    def rate(self, seconds: float) -> float:
        films = self.associations * self.films
        return films * (self.rows * self.columns * 2 / 1e6 if self.unit == "MB/s" else 1) / seconds


def run(*, quick: bool) -> list[Section]:
    share, rounds = (4, 3) if quick else (1, 7)
    small = {"rows": 512, "columns": 512, "unit": "films/s"}
    loads = (
        Load(
            name="10 MB films, 1 association",
            rows=2500,
            columns=2048,
            associations=1,
            films=40 // share,
            unit="MB/s",
            held=True,
        ),
        Load(name="512 x 512 films, 1 association", associations=1, films=200 // share, **small),
        Load(name="512 x 512 films, 4 associations", associations=4, films=100 // share, **small),
    )
    with TemporaryDirectory(prefix="xrayq-bench-") as name, ExitStack() as stack:
        folder = Path(name)
        receivers = {
            OURS: (*stack.enter_context(gateway(folder / "home")), folder / "home" / "spool"),
            DCMTK: (*stack.enter_context(storescp(folder / "storescp")), folder / "storescp"),
            PLAIN: (*stack.enter_context(plain_receiver(folder / "plain")), folder / "plain"),
        }
        return [_section(load, folder / f"load{number}", receivers, rounds) for number, load in enumerate(loads)]


def _section(load: Load, folder: Path, receivers: dict[str, tuple[int, int, Path]], rounds: int) -> Section:
    source = chest_film(pixels=chest_pixels(load.rows, load.columns))
    folders = [folder / f"{folder.name}-{number}" for number in range(load.associations)]
    for one in folders:
        write_set(one, source, load.films, syntax=uid.ExplicitVRLittleEndian)
    generations = count(1)

    def contestant(port: int, output: Path) -> Callable[[], float]:
        def measure() -> float:
            generation = next(generations)
            for one in folders:
                renew(one, generation - 1, generation)
            os.sync()  # nobody pays for what another left to be written
            started = time.perf_counter()
            storescu(port, folders, folder / "storescu.log")
            seconds = time.perf_counter() - started
            _empty(output, expected=load.associations * load.films)
            return load.rate(seconds)

        return measure

    contestants = {name: contestant(port, output) for name, (port, _, output) in receivers.items()}
    interleave(contestants, 1)  # warm up
    rates = interleave(contestants, rounds)
    rows: list[Row] = []
    for name, (_, pid, _) in receivers.items():
        memory = peak_rss_mb(pid)
        against = ratio(rates[OURS], rates[name])
        rows.append(
            {
                "receiver": name,
                load.unit: spread(rates[name]),
                "xrayq / it": "" if name == OURS else against,
                "target": Target(value=against.median, at_least=LEAST_RATIO) if load.held and name == DCMTK else "",
                "peak RSS, MB": Target(value=memory, below=MOST_MB)
                if name == OURS
                else ""
                if name == DCMTK
                else memory,
            }
        )
    total = load.associations * load.films
    return Section(title=f"receive: {load.name}", rows=rows, note=f"{total} films a round, {rounds} rounds")


def _empty(output: Path, expected: int) -> None:
    """Count what arrived and remove it. Raises RuntimeError when films are missing."""
    files = [path for path in output.rglob("*") if path.is_file()]
    if len(files) != expected:
        raise RuntimeError(f"{output} holds {len(files)} films, {expected} were sent")
    for path in files:
        path.unlink()
