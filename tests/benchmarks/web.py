"""Films sent to a real `xrayq up` while fifty browsers have its worklist open, beside the same with none.

The browsers run on the same cores as the service, which they do nowhere else: what they cost is in the ratio.
"""

import json
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from tempfile import TemporaryDirectory
from time import monotonic
from typing import Any

import numpy as np
import psutil
from pydicom import dcmread, uid

from tests.benchmarks.end_to_end import empty_spool, wait_for_scores
from tests.benchmarks.films import renew, write_set
from tests.benchmarks.processes import storescu
from tests.benchmarks.report import Row, Section, Target, ratio, spread
from tests.days import Shares, fill
from tests.services import child, listening
from worker.db.session import make_engine
from worker.demo import CHEST, free_port, sample_path, service, wait_for
from worker.settings import cores

BROWSERS = 50
LEAST_SHARE = 0.95
OLD_FILMS = 10_000
MINUTES, QUICK_MINUTES = 30, 2
MEBIBYTE = 1 << 20


def run(*, quick: bool) -> list[Section]:
    films, minutes = (60, QUICK_MINUTES) if quick else (200, MINUTES)
    alone: list[float] = []
    beside: list[float] = []
    refreshes: list[float] = []
    memory: list[float] = []
    busy: list[float] = []
    broken = 0
    with TemporaryDirectory(prefix="xrayq-bench-") as name:
        base = Path(name)
        home, source = base / "home", dcmread(sample_path(CHEST))
        home.mkdir()
        write_set(base / "warm", source, 2 * cores(), syntax=uid.ExplicitVRLittleEndian)
        write_set(base / "films", source, films, syntax=uid.ExplicitVRLittleEndian)
        web = free_port()
        with service(home, base / "home.log", XRAYQ_WEB=f"127.0.0.1:{web}") as port:
            wait_for(lambda: listening(web), 30, "the page is not served")
            old = _old_films(home)
            process = _web_process()
            storescu(port, [base / "warm"], base / "storescu.log")
            sent = old + 2 * cores()
            wait_for_scores(home, sent, 120)
            end, number = monotonic() + 60 * minutes, 0
            while number < 2 or monotonic() < end:
                for rates, count in ((alone, 0), (beside, BROWSERS))[:: 1 if number % 4 else -1]:
                    with _browsers(web, count) as told:
                        started, used = datetime.now(UTC), _processor_seconds(process)
                        storescu(port, [base / "films"], base / "storescu.log")
                        sent += films
                        times = wait_for_scores(home, sent, 10 * films)
                        seconds = (times[-1] - started).total_seconds()
                        rates.append(films / seconds)
                        if count:
                            busy.append((_processor_seconds(process) - used) / seconds / cores())
                    refreshes += told.get("refreshes", [])
                    broken += told.get("broken", 0)
                    memory.append(process.memory_info().rss / MEBIBYTE)
                    renew(base / "films", number, number + 1)
                    empty_spool(home)
                    number += 1
    share = ratio(beside, alone)
    rows: list[Row] = [
        {"measure": "no browser, films/s", "value": spread(alone), "target": ""},
        {"measure": f"{BROWSERS} browsers, films/s", "value": spread(beside), "target": ""},
        {"measure": "with / without", "value": share, "target": Target(value=share.median, at_least=LEAST_SHARE)},
        {"measure": "share of all cores that xrayq web used beside them", "value": spread(busy), "target": ""},
        {"measure": "refresh of a worklist, p50, s", "value": float(np.quantile(refreshes, 0.5)), "target": ""},
        {"measure": "refresh of a worklist, p95, s", "value": float(np.quantile(refreshes, 0.95)), "target": ""},
        {"measure": "streams that broke", "value": float(broken), "target": ""},
        {"measure": "memory of xrayq web after the first browsers, MiB", "value": memory[1], "target": ""},
        {"measure": "half-way, MiB", "value": memory[len(memory) // 2], "target": ""},
        {"measure": "at the end, MiB", "value": memory[-1], "target": ""},
    ]
    note = f"{films} films a turn beside {OLD_FILMS:,} older ones, turn by turn for {minutes} minutes"
    return [Section(title=f"web: {BROWSERS} open worklists", rows=rows, note=note)]


def _old_films(home: Path) -> int:
    """How many of them have a score."""
    engine = make_engine(f"sqlite:///{home / 'xrayq.db'}")
    fill(engine, datetime.now(UTC).date() - timedelta(days=2), OLD_FILMS, shares=Shares(ineligible=0))
    engine.dispose()
    return OLD_FILMS


def _web_process() -> psutil.Process:
    (up,) = [one for one in psutil.Process().children() if one.cmdline()[-2:] == ["worker.cli", "up"]]
    pid = child(up.pid, "web")
    if pid is None:
        raise RuntimeError("xrayq up runs no xrayq web")
    return psutil.Process(pid)


def _processor_seconds(process: psutil.Process) -> float:
    times = process.cpu_times()
    return float(times.user + times.system)


@contextmanager
def _browsers(port: int, count: int) -> Iterator[dict[str, Any]]:
    """What they have seen is in the value when the block has ended."""
    seen: dict[str, Any] = {}
    if not count:
        yield seen
        return
    command = [sys.executable, "-m", "tests.benchmarks.browsers", str(port), str(count)]
    started = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    try:
        wait_for(lambda: len(psutil.Process(started.pid).net_connections()) >= count, 30, "the browsers do not open")
        yield seen
        seen |= json.loads(started.communicate("", timeout=60)[0])
    finally:
        started.kill()
        started.wait()
