"""Chest films pushed by C-STORE to a real `xrayq up`, beside what this machine can do at most and a naive worker.

Films/s counts from the first byte sent to the last score committed; for the backlog, whose films were received before,
from the first score to the last. The ceiling is the slower of decoding alone and inference alone, each with every core
to itself. On a CPU they share the cores, so "both" is what is left when decoding and inference take turns on them.
Receiving, the queue and the database come on top for xrayq only, and so does the sender, which runs on the same cores.
The naive worker receives nothing: it reads the files where they lie, so the backlog is the like of it.
"""

import subprocess
import sys
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from itertools import count
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
from pydicom import dcmread, uid
from sqlalchemy import select

from dicom_gateway.spool import MEBIBYTE
from model import bundle as bundles
from model.engine.choose import open_engine
from model.preprocess import PreprocessSpec
from tests.benchmarks.films import write_set
from tests.benchmarks.processes import gateway, storescu
from tests.benchmarks.report import Row, Section, Target, interleave, ratio, spread
from worker.db.session import make_engine, reading
from worker.db.tables import score
from worker.demo import CHEST, sample_path, service, wait_for
from worker.scoring.decoding import DecodePool
from worker.scoring.outcomes import INFERENCE_BATCH
from worker.settings import Settings, cores

LEAST_SHARE, LEAST_GAIN = 0.85, 4.0
NAIVE_FILMS = 30
OURS, BACKLOG = "xrayq up", "xrayq up, backlog"
DECODE, INFER, NAIVE = "decoding alone", "inference alone", "naive worker"


def run(*, quick: bool) -> list[Section]:
    rounds = 1 if quick else 3
    return [
        _section("Explicit VR Little Endian", uid.ExplicitVRLittleEndian, 40 if quick else 200, rounds),
        _section("JPEG 2000 Lossless", uid.JPEG2000Lossless, 16 if quick else 60, rounds),
    ]


def _section(name: str, syntax: str, films: int, rounds: int) -> Section:
    with TemporaryDirectory(prefix="xrayq-bench-") as folder:
        base = Path(folder)
        source = dcmread(sample_path(CHEST))
        paths = write_set(base / "films", source, films, syntax=syntax)
        write_set(base / "warm", source, 2 * cores(), syntax=syntax)
        homes = count()
        naive_films = min(NAIVE_FILMS, films)
        contestants: dict[str, Callable[[], float]] = {
            OURS: lambda: _ours(base, f"home{next(homes)}", films, syntax),
            BACKLOG: lambda: _backlog(base, f"home{next(homes)}", films, syntax),
            DECODE: lambda: _decode_alone(paths),
            INFER: lambda: _infer_alone(films),
            NAIVE: lambda: _naive(base, f"naive{next(homes)}.db", naive_films),
        }
        rates = interleave(contestants, rounds)
    ceiling = [min(pair) for pair in zip(rates[DECODE], rates[INFER], strict=True)]
    both = [1 / (1 / one + 1 / other) for one, other in zip(rates[DECODE], rates[INFER], strict=True)]
    share, gain = ratio(rates[OURS], ceiling), ratio(rates[OURS], rates[NAIVE])
    like = ratio(rates[BACKLOG], rates[NAIVE])
    rows: list[Row] = [
        {"measure": f"{name}, films/s", "value": spread(rates[name]), "target": ""} for name in contestants
    ]
    rows += [
        {"measure": "ceiling, films/s", "value": spread(ceiling), "target": ""},
        {"measure": "both, films/s", "value": spread(both), "target": ""},
        {"measure": "xrayq / both", "value": ratio(rates[OURS], both), "target": ""},
        {"measure": "xrayq, backlog / both", "value": ratio(rates[BACKLOG], both), "target": ""},
        {"measure": "xrayq / ceiling", "value": share, "target": Target(value=share.median, at_least=LEAST_SHARE)},
        {"measure": "xrayq, backlog / naive", "value": like, "target": Target(value=like.median, at_least=LEAST_GAIN)},
        {"measure": "xrayq / naive", "value": gain, "target": Target(value=gain.median, at_least=LEAST_GAIN)},
    ]
    shown = f"{source.Rows} x {source.Columns} x 16 bit"
    note = f"{films} films on one association ({naive_films} for the naive worker), {rounds} rounds"
    return Section(title=f"end to end: {name}, {shown}", rows=rows, note=note)


def _ours(base: Path, home_name: str, films: int, syntax: str) -> float:
    home = base / home_name
    home.mkdir()
    with service(home, base / f"{home_name}.log") as port:
        warm = 2 * cores()
        storescu(port, [base / "warm"], base / "storescu.log", syntax)
        wait_for_scores(home, warm, 120)
        started = datetime.now(UTC)
        storescu(port, [base / "films"], base / "storescu.log", syntax)
        times = wait_for_scores(home, warm + films, 10 * films)
    empty_spool(home)
    return films / (times[-1] - started).total_seconds()


def _backlog(base: Path, home_name: str, films: int, syntax: str) -> float:
    home = base / home_name
    with gateway(home) as (port, _):
        storescu(port, [base / "films"], base / "storescu.log", syntax)
    with service(home, base / f"{home_name}.log"):
        times = wait_for_scores(home, films, 10 * films)
    empty_spool(home)
    first = times.count(times[0])  # one transaction, one time
    return (films - first) / (times[-1] - times[0]).total_seconds()


def wait_for_scores(home: Path, films: int, seconds: float) -> list[datetime]:
    """When each score was written, in order."""
    database = make_engine(f"sqlite:///{home / 'xrayq.db'}")

    def times() -> list[datetime]:
        with reading(database) as connection:
            return list(connection.execute(select(score.c.scored_at).order_by(score.c.scored_at)).scalars())

    wait_for(lambda: len(times()) == films, seconds, f"films still wait, see {home}.log")
    found = times()
    database.dispose()
    return found


def empty_spool(home: Path) -> None:
    """So that later rounds have the disk to themselves."""
    for path in (home / "spool").rglob("*.dcm"):
        path.unlink()


def _decode_alone(paths: list[Path]) -> float:
    settings = Settings.model_construct()
    pool = DecodePool(
        processes=cores(),
        timeout=settings.decode_timeout,
        memory_bytes=settings.decode_memory_mib * MEBIBYTE,
        spec=PreprocessSpec(),
        max_pixels=int(settings.max_megapixels * 1e6),
    )
    try:
        list(pool.decode(dict(enumerate(paths[: 2 * cores()]))))  # warm up
        started = time.perf_counter()
        decoded = dict(pool.decode(dict(enumerate(paths))))
        seconds = time.perf_counter() - started
    finally:
        pool.close()
    if any(one.image is None for one in decoded.values()):
        raise RuntimeError(f"not decoded: {sorted({str(one.reason) for one in decoded.values()})}")
    return len(paths) / seconds


def _infer_alone(films: int) -> float:
    """The engine that serves, called from one thread for each core."""
    bundle = bundles.load(bundles.REFERENCE)
    engine = open_engine(bundle)
    shape = (INFERENCE_BATCH, 1, bundle.preprocess.size, bundle.preprocess.size)
    images = np.random.default_rng(0).integers(0, 256, shape).astype(np.uint8)
    batches = max(5 * cores(), films // INFERENCE_BATCH)
    with ThreadPoolExecutor(cores()) as threads:
        list(threads.map(engine.infer, [images] * 2 * cores()))  # warm up
        started = time.perf_counter()
        list(threads.map(engine.infer, [images] * batches))
        seconds = time.perf_counter() - started
    return batches * INFERENCE_BATCH / seconds


def _naive(base: Path, database: str, films: int) -> float:
    command = [sys.executable, "-m", "tests.benchmarks.naive", str(base / "films"), str(films), str(base / database)]
    done = subprocess.run(command, check=True, capture_output=True, text=True, timeout=1200)
    return float(done.stdout)
