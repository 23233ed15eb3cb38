"""python -m tests.differential [CASES] [--from NUMBER]

Renders generated films through our path, DCMTK and pydicom, and counts who agrees. Exit code 1 for a difference that
nothing explains.
"""

import argparse
import os
import sys
import tempfile
from collections import Counter
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from pathlib import Path

from tests.differential import aspects
from tests.differential.compare import AGREES, NO_ANSWER, UNEXPLAINED, compare, described, explanations
from worker.logs import silence_readers


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m tests.differential", description=__doc__.split("\n\n")[1])
    parser.add_argument("cases", nargs="?", type=int, default=4000)
    parser.add_argument("--from", dest="first", type=int, default=0, help="number of the first case")
    options = parser.parse_args()
    silence_readers()
    counts: Counter[tuple[str, str]] = Counter()
    neither = 0
    numbers = range(options.first, options.first + options.cases)
    with (
        tempfile.TemporaryDirectory() as folder,
        ProcessPoolExecutor(os.cpu_count(), initializer=silence_readers) as pool,
    ):
        for found in pool.map(partial(_verdicts, folder=Path(folder)), numbers, chunksize=20):
            neither += all(verdict != AGREES for verdict, _ in found.values())
            for name, (verdict, words) in found.items():
                counts[name, verdict] += 1
                if words:
                    print(words)
        shapes = list(aspects.shapes(Path(folder)))
    print(f"\n{options.cases} films, {options.cases - neither} of them agree with DCMTK or pydicom")
    for name in ("DCMTK", "pydicom"):
        print(f"{name}: {counts[name, AGREES]} agree")
        for key, renderer, why in explanations():
            if renderer == name:
                print(f"  {counts[name, key]:5}  {key}: {why}")
        print(f"  {counts[name, UNEXPLAINED] + counts[name, NO_ANSWER]:5}  without an explanation")
    odd = [one for one in shapes if not one.agrees]
    print(f"{len(shapes)} shapes of a pixel: {len(shapes) - len(odd)} agree with DCMTK, {len(odd)} differ")
    print(f"  {sum(one.explained for one in odd):5}  {aspects.ZERO}: {aspects.WHY}")
    bad = any(verdict in (UNEXPLAINED, NO_ANSWER) for _, verdict in counts) or not all(one.explained for one in odd)
    sys.exit(1 if bad else 0)


def _verdicts(number: int, folder: Path) -> dict[str, tuple[str, str]]:
    """By renderer, with words for what nothing explains. A film is rendered by one thread: see `listening`."""
    made, found = compare(number, folder)
    return {
        name: (
            outcome.verdict,
            f"case {number}: {name} {outcome.verdict}: {described(made, outcome)}"
            if outcome.verdict in (UNEXPLAINED, NO_ANSWER)
            else "",
        )
        for name, outcome in found.items()
    }


if __name__ == "__main__":
    main()
