"""Films that come while a CT study comes too: the study must neither cost the gateway memory nor the films their time.

A film is sent every FILM_EVERY seconds, first with nobody beside it, then while a CT sends its slices. Its time counts
from its first byte to the answer, and to its score.
"""

import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory

import psutil
from pydicom import dcmread, uid
from sqlalchemy import select

from dicom_gateway.scu import send
from tests.benchmarks.films import write_set
from tests.benchmarks.report import Row, Section, Target
from tests.services import Memory
from worker.db.session import make_engine, reading
from worker.db.tables import instance, score
from worker.demo import CHEST, sample_path, service, wait_for

FILM_EVERY = 0.5
MOST_TIMES_SLOWER, MOST_GROWTH_MIB = 1.5, 32.0


def run(*, quick: bool) -> list[Section]:
    slices, films = (300, 8) if quick else (2000, 40)
    with TemporaryDirectory(prefix="xrayq-bench-") as folder:
        base = Path(folder)
        source = dcmread(sample_path(CHEST))
        paths = write_set(base / "films", source, 3 * films + 4, syntax=uid.ExplicitVRLittleEndian)
        home = base / "home"
        home.mkdir()
        with service(home, base / "up.log") as port, Memory(_gateway(home)) as memory:
            live = Live(port, home)
            live.films(paths[:4], lambda: False)  # warm
            alone = live.films(paths[4 : 4 + films], lambda: False)
            memory.before = memory.most = memory.now()
            study = subprocess.Popen(
                [sys.executable, "-m", "tests.benchmarks.slices", str(port), str(slices)],
                stdout=subprocess.PIPE,
                text=True,
            )
            beside = live.films(paths[4 + films :], lambda: study.poll() is not None)
            seconds = float(study.communicate(timeout=600)[0])
        growth = memory.growth
    answered, scored = ([median(one) for one in pair] for pair in zip(alone, beside, strict=True))
    rows: list[Row] = [
        {"measure": "slices/s", "value": slices / seconds, "target": ""},
        {"measure": "film to answer, alone, s", "value": answered[0], "target": ""},
        {"measure": "film to answer, beside the study, s", "value": answered[1], "target": ""},
        {"measure": "film to score, alone, s", "value": scored[0], "target": ""},
        {"measure": "film to score, beside the study, s", "value": scored[1], "target": ""},
        _limited("film to answer, times slower", answered[1] / answered[0], MOST_TIMES_SLOWER),
        _limited("film to score, times slower", scored[1] / scored[0], MOST_TIMES_SLOWER),
        {"measure": "gateway before the study, MiB", "value": memory.before, "target": ""},
        _limited("gateway's growth, MiB", growth, MOST_GROWTH_MIB),
    ]
    note = f"{slices} slices of 512 x 512 x 16 over one association, {len(beside[0])} films of {source.Rows} x "
    return [Section(title="a CT study beside films", rows=rows, note=f"{note}{source.Columns} x 16 bit; medians")]


class Live:
    """Sends films one by one and looks when each was scored."""

    def __init__(self, port: int, home: Path) -> None:
        self._port = port
        self._database = make_engine(f"sqlite:///{home / 'xrayq.db'}")

    def films(self, paths: list[Path], over: Callable[[], bool]) -> tuple[list[float], list[float]]:
        """Seconds to the answer and to the score of each, until there is no more or it is over."""
        answered, begun = [], {}
        for path in paths:
            if over():
                break
            name, started, clock = (
                str(dcmread(path, stop_before_pixels=True).SOPInstanceUID),
                time.monotonic(),
                time.time(),
            )
            (sent,) = send("127.0.0.1", self._port, [path], called_ae="XRAYQ", calling_ae="LIVE")
            if sent.status != 0:
                raise RuntimeError(f"a film was answered {sent.status}")
            answered.append(time.monotonic() - started)
            begun[name] = clock
            time.sleep(max(0.0, FILM_EVERY - (time.monotonic() - started)))
        wait_for(lambda: begun.keys() <= self._scored().keys(), 120, "films are not scored")
        ended = self._scored()
        return answered, [ended[name] - clock for name, clock in begun.items()]

    def _scored(self) -> dict[str, float]:
        query = select(instance.c.sop_instance_uid, score.c.scored_at).join(score, score.c.instance_id == instance.c.id)
        with reading(self._database) as connection:
            return {name: at.timestamp() for name, at in connection.execute(query)}


def _gateway(home: Path) -> int:
    """The pid of the service's gateway."""
    for process in psutil.process_iter(["cmdline", "environ"]):
        command, environment = process.info["cmdline"] or [], process.info["environ"] or {}
        if command[-2:] == ["worker.cli", "gateway"] and environment.get("XRAYQ_HOME") == str(home):
            return int(process.pid)
    raise RuntimeError("no gateway")


def _limited(measure: str, value: float, below: float) -> Row:
    return {"measure": measure, "value": value, "target": Target(value=value, below=below)}
