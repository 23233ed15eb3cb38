"""How long the report of a large day takes, and how much memory, in the process in which the relay makes it."""

import os
import pickle
import subprocess
import sys
from datetime import date
from pathlib import Path
from resource import RUSAGE_CHILDREN, getrusage
from tempfile import TemporaryDirectory
from time import perf_counter
from zoneinfo import ZoneInfo

from tests import days
from tests.benchmarks.report import Row, Section, Target
from worker.db import schema
from worker.db.session import make_engine
from worker.monitoring.drift_result import DriftOptions
from worker.nightly import published
from worker.nightly.child import Order
from worker.nightly.content import NightOptions

FILMS = 100_000
DAY = date(2026, 11, 20)
DRIFT = DriftOptions(reference_films=500, least_films=50, alpha=0.001, psi=0.1)
MEGABYTE = 1e6


def run(*, quick: bool) -> list[Section]:
    sizes = (FILMS // 10,) if quick else (FILMS // 10, FILMS)
    return [
        Section(
            title="night: the report of a day, SQLite",
            rows=[_report(films) for films in sizes],
            note="The day before has 1,000 films, from which the drift references are frozen on the way.",
        )
    ]


def _report(films: int) -> Row:
    with TemporaryDirectory(prefix="xrayq-bench-") as name:
        folder = Path(name)
        url = f"sqlite:///{folder / 'xrayq.db'}"
        engine = make_engine(url)
        schema.upgrade(engine)
        days.fill(engine, date(2026, 11, 19), 1000, seed=2)
        days.fill(engine, DAY, films, shares=days.Shares(failed=0.02, labelled=0.01))
        engine.dispose()
        options = NightOptions(zone=ZoneInfo("UTC"), drift=DRIFT, spool=folder, reports=folder)
        order = Order(
            database_url=url, day=DAY, options=options, folder=folder, summary=folder / "summary", parent=os.getpid()
        )
        begun, busy = perf_counter(), _cpu_seconds()
        subprocess.run([sys.executable, "-m", "worker.nightly.child"], input=pickle.dumps(order), check=True)
        seconds, busy = perf_counter() - begun, _cpu_seconds() - busy
        # The largest child so far: sizes grow, so it is this one.
        memory = getrusage(RUSAGE_CHILDREN).ru_maxrss * 1024 / MEGABYTE
        sizes = {path: (folder / path).stat().st_size / MEGABYTE for path in published.FILES}
    return {
        "films": films,
        "s": Target(value=seconds, below=60.0),
        "CPU s": busy,
        "peak MB": Target(value=memory, below=500.0),
        **{f"{path}, MB": size for path, size in sizes.items()},
    }


def _cpu_seconds() -> float:
    used = getrusage(RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime
