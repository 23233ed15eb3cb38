"""Drift: false alarms over quiet nights, the smallest shift that is found, and how long a large night takes."""

import resource
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory
from time import perf_counter

import numpy as np

from model.stats.outside import count
from model.stats.shift import compare
from tests.benchmarks.report import Cell, Row, Section
from tests.nights import DEVICES, Device, day, draw, how_many, keep
from worker.db import schema
from worker.db.session import make_engine, reading
from worker.db.span import Span
from worker.monitoring import drift_reference
from worker.monitoring.drift import evaluate
from worker.monitoring.drift_result import LEAST_OUTSIDE, DriftOptions, DriftTest

OPTIONS = DriftOptions(reference_films=500, least_films=50, alpha=0.001, psi=0.1)
BEFORE = Span(start=day(-60).start, end=day(0).start)
NIGHTS, FAMILY = 30, 40
LEVELS = (0.05, 0.01, 0.001)
FILMS, AES = 100_000, 20


def run(*, quick: bool) -> list[Section]:
    return [quiet(3 if quick else 20), *power(50 if quick else 400), large(FILMS // 10 if quick else FILMS)]


def quiet(repetitions: int) -> Section:
    """Months of nights on which nothing changed, each with references of its own."""
    tests, p, outside_p = 0, [], []
    alarms, nights, bare, alone = Counter[int](), 0, 0, 0
    for repetition in range(repetitions):
        for found in _quiet_month(repetition):
            tests += len(found)
            p += [test.p for test in found]
            outside_p += [test.outside_p for test in found]
            raised = {test.calling_ae for test in found if test.alarm}
            alarms[repetition] += len(raised)
            nights += bool(raised)
            bare += any(test.psi >= OPTIONS.psi for test in found)
            alone += any(test.p <= 0.05 for test in found)
    total = repetitions * NIGHTS
    row: Row = {"nights": total, "tests": tests, "alarms": alarms.total(), "nights with one": nights}
    row |= {f"largest in {NIGHTS} nights": max(alarms.values()), "with PSI ≥ .1": bare, "with any p ≤ .05": alone}
    for name, values in (("p", p), ("p of outliers", outside_p)):
        row |= {f"{name} ≤ {level:g}": float(np.mean(np.array(values) <= level)) for level in LEVELS}
    return Section(
        title=f"drift: {repetitions} times {NIGHTS} quiet nights of {len(DEVICES)} AEs",
        rows=[row],
        note="with ...: nights on which that rule alone would have cried. Ties make p-values of `clipped` larger.",
    )


def _quiet_month(seed: int) -> Iterator[tuple[DriftTest, ...]]:
    random = np.random.default_rng(seed)
    with TemporaryDirectory(prefix="xrayq-bench-") as folder:
        database = make_engine(f"sqlite:///{Path(folder) / 'xrayq.db'}")
        schema.upgrade(database)
        for device in DEVICES:
            keep(database, device.ae, BEFORE, draw(device, OPTIONS.reference_films, random))
        drift_reference.freeze_missing(database, BEFORE, films=OPTIONS.reference_films, actor="night")
        for number in range(NIGHTS):
            for device in DEVICES:
                keep(database, device.ae, day(number), draw(device, how_many(device, number, random), random))
            with reading(database) as connection:
                yield evaluate(connection, day(number), OPTIONS).tests
        database.dispose()


def power(draws: int) -> list[Section]:
    """Share of nights on which a shift of brightness is found, as one of FAMILY tests of which the others are quiet."""
    rows = []
    device = DEVICES[0]
    spread = float(draw(device, 20_000, np.random.default_rng(0)).pixels["brightness"].std())
    for shift in (0.0, 0.01, 0.02, 0.03, 0.04, 0.05, 0.06, 0.08):
        row: dict[str, Cell] = {"brighter by, of the display range": shift, "in its own scatter": shift / spread}
        row |= {f"{films} films": _found(device, shift, films, draws) for films in (50, 100, 200, 500)}
        rows.append(row)
    wrong = []
    for part in (0.0, 0.03, 0.05, 0.1):
        row = {"films that are black or white, of all": part}
        for films in (50, 100, 200, 500):
            moved, outliers = _wrong_found(device, part, films, draws)
            row |= {f"{films} films": outliers, f"{films}, as drift alone": moved}
        wrong.append(row)
    note = f"{draws} draws each; reference {OPTIONS.reference_films} films; {FAMILY} measures a night, two tests each"
    return [
        Section(title="drift: share of shifts that are found", rows=rows, note=note),
        Section(title="drift: share of nights on which a few wrong films are found", rows=wrong, note=note),
    ]


def _found(device: Device, shift: float, films: int, draws: int) -> float:
    random = np.random.default_rng(films)
    raised = 0
    for _ in range(draws):
        reference = draw(device, OPTIONS.reference_films, random).pixels["brightness"]
        compared = compare(reference, draw(device, films, random, brighter=shift).pixels["brightness"])
        raised += compared.p * 2 * FAMILY <= OPTIONS.alpha and compared.excess >= OPTIONS.psi
    return raised / draws


def _wrong_found(device: Device, part: float, films: int, draws: int) -> tuple[float, float]:
    """As films that moved, and as outliers; both kinds of test double the family."""
    random = np.random.default_rng(films)
    moved = outliers = 0
    for _ in range(draws):
        reference = draw(device, OPTIONS.reference_films, random).pixels["brightness"]
        sample = draw(device, films, random).pixels["brightness"]
        wrong = round(part * films)
        sample[:wrong] = random.choice([0.01, 0.99], wrong)
        compared, counted = compare(reference, sample), count(reference, sample)
        moved += compared.p * FAMILY <= OPTIONS.alpha and compared.excess >= OPTIONS.psi
        outliers += counted.p * 2 * FAMILY <= OPTIONS.alpha and counted.excess >= LEAST_OUTSIDE
    return moved / draws, outliers / draws


def large(films: int) -> Section:
    """Freezing and evaluating a night, in a process of its own."""
    with TemporaryDirectory(prefix="xrayq-bench-") as folder:
        url = f"sqlite:///{Path(folder) / 'xrayq.db'}"
        database = make_engine(url)
        schema.upgrade(database)
        random = np.random.default_rng(1)
        for number in range(AES):
            for span, count in ((BEFORE, OPTIONS.reference_films), (day(0), films // AES)):
                keep(database, f"AE{number}", span, draw(DEVICES[number % 4], count, random))
        database.dispose()
        told = subprocess.run([sys.executable, "-m", __name__, url], capture_output=True, text=True, check=True)
    before, freezing, evaluating, peak, tests = (float(word) for word in told.stdout.split())
    row: Row = {"films": films, "AEs": AES, "tests": int(tests), "freezing, s": freezing, "evaluating, s": evaluating}
    row |= {"peak, MiB": peak, "of this imports, MiB": before}
    return Section(title="drift: one large night, SQLite", rows=[row])


def _large(url: str) -> None:
    database = make_engine(url)
    before = _peak()
    started = perf_counter()
    drift_reference.freeze_missing(database, BEFORE, films=OPTIONS.reference_films, actor="night")
    frozen = perf_counter()
    with reading(database) as connection:
        tests = len(evaluate(connection, day(0), OPTIONS).tests)
    print(before, frozen - started, perf_counter() - frozen, _peak(), tests)


def _peak() -> float:
    """Largest resident memory of this process so far, MiB."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


if __name__ == "__main__":
    _large(sys.argv[1])
