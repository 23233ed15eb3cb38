"""Chest films pushed to a real `xrayq up` whose results go to a PACS, beside the same with results off.

The PACS is DCMTK's storescp, which keeps nothing, on the same cores. Films/s scored counts from the first byte sent to
the last score committed; films/s reported to the last result that the PACS took. Results are made and sent beside
scoring, so their rate says how large a backlog of films still gives each film its result in time.
"""

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from itertools import count
from pathlib import Path
from tempfile import TemporaryDirectory

from pydicom import dcmread, uid
from sqlalchemy import func, select

from tests.benchmarks.end_to_end import empty_spool, wait_for_scores
from tests.benchmarks.films import write_set
from tests.benchmarks.processes import NODELAY, PDU, serving, storescu
from tests.benchmarks.report import Row, Section, interleave, ratio, spread
from tests.services import tool
from worker.db.session import make_engine, reading
from worker.db.tables import sent_object
from worker.demo import CHEST, free_port, sample_path, service, wait_for
from worker.settings import cores

SENDER = "STORESCU"
OFF = "results off"
OBJECTS = {"report and picture": 2, "report alone": 1}
"""Sent of each film."""
WARM = 2 * cores()


def run(*, quick: bool) -> list[Section]:
    films, rounds = (40, 1) if quick else (120, 3)
    with TemporaryDirectory(prefix="xrayq-bench-") as folder:
        base = Path(folder)
        source = dcmread(sample_path(CHEST))
        write_set(base / "films", source, films, syntax=uid.ExplicitVRLittleEndian)
        write_set(base / "warm", source, WARM, syntax=uid.ExplicitVRLittleEndian)
        homes = (base / f"home{number}" for number in count())
        reported: dict[str, list[float]] = {name: [] for name in OBJECTS}

        def on(name: str) -> float:
            scored, done = _with_results(base, next(homes), films, OBJECTS[name])
            reported[name].append(done)
            return scored

        rates = interleave(
            {OFF: lambda: _without(base, next(homes), films)} | {name: lambda name=name: on(name) for name in OBJECTS},  # type: ignore[misc]
            rounds,
        )
    rows: list[Row] = [{"measure": f"{OFF}: films/s scored", "value": spread(rates[OFF])}]
    for name, done in reported.items():
        rows += [
            {"measure": f"{name}: films/s scored", "value": spread(rates[name])},
            {"measure": f"{name}: films/s reported", "value": spread(done)},
            {"measure": f"{name}: scored / scored with {OFF}", "value": ratio(rates[name], rates[OFF])},
            {"measure": f"{name}: reported / scored with {OFF}", "value": ratio(done, rates[OFF])},
        ]
    title = f"results on and off, {source.Rows} x {source.Columns} x 16 bit, Explicit VR Little Endian"
    return [Section(title=title, rows=rows, note=f"{films} films on one association, {rounds} rounds")]


def _without(base: Path, home: Path, films: int) -> float:
    home.mkdir()
    with service(home, home.with_suffix(".log")) as port:
        started, scored = _scored(base, home, port, films)
    empty_spool(home)
    return films / (scored - started).total_seconds()


def _with_results(base: Path, home: Path, films: int, objects: int) -> tuple[float, float]:
    """Films/s scored, and films/s reported."""
    home.mkdir()
    with _pacs(home.with_suffix(".pacs.log")) as pacs:
        settings = {
            "XRAYQ_RESULTS_TO": f"*:PACS@127.0.0.1:{pacs}",
            "XRAYQ_RESULTS_PICTURE": "true" if objects == 2 else "false",
        }
        with service(home, home.with_suffix(".log"), **settings) as port:
            _accept(home)
            started, scored = _scored(base, home, port, films)
            reported = _wait_for_results(home, (WARM + films) * objects, 30 * films)
    empty_spool(home)
    return films / (scored - started).total_seconds(), films / (reported - started).total_seconds()


def _scored(base: Path, home: Path, port: int, films: int) -> tuple[datetime, datetime]:
    """When the first byte of the films was sent, and when the last score was committed."""
    storescu(port, [base / "warm"], base / "storescu.log")
    wait_for_scores(home, WARM, 120)
    started = datetime.now(UTC)
    storescu(port, [base / "films"], base / "storescu.log")
    return started, wait_for_scores(home, WARM + films, 10 * films)[-1]


def _wait_for_results(home: Path, objects: int, seconds: float) -> datetime:
    """When the last object was taken."""
    database = make_engine(f"sqlite:///{home / 'xrayq.db'}")

    def sent() -> tuple[int, datetime]:
        with reading(database) as connection:
            query = select(func.count(), func.max(sent_object.c.sent_at))
            number, last = connection.execute(query).one()
            return number, last

    wait_for(lambda: sent()[0] == objects, seconds, f"results still wait, see {home}.log")
    last = sent()[1]
    database.dispose()
    return last


def _accept(home: Path) -> None:
    words = ["device", "accept", SENDER, "--without-evidence", "--reason", "benchmark"]
    environment = os.environ | {"XRAYQ_HOME": str(home), "XRAYQ_CONFIG": os.devnull}
    subprocess.run([sys.executable, "-m", "worker.cli", *words], env=environment, check=True, capture_output=True)


@contextmanager
def _pacs(log: Path) -> Iterator[int]:
    port = free_port()
    command = [tool("storescp"), "--fork", "--ignore", "-pdu", PDU, str(port)]
    with serving(command, port, log, **NODELAY):
        yield port
