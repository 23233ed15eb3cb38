"""`make fuzz`: bytes that nobody sent yet, to whatever reads bytes of a stranger.

    python -m tests.fuzz [--cases 1000000] [--seconds 900] [TARGET ...]

Ends after so many cases or so many seconds, both over all targets. Exit code 1 where one is a fault; its input is kept
in the folder `fuzz-found`, and `python -m tests.fuzz.one TARGET FILE` runs it again. What is mended goes to
tests/fuzz/found, and is a test from then on.
"""

import argparse
import os
import re
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

from tests.fuzz.targets import TARGETS

KEPT = Path("fuzz-found")
HANG_SECONDS, MOST_MEGABYTES = 10, 2048
MEMORY = Path("/dev/shm")


@dataclass(frozen=True, kw_only=True)
class Result:
    cases: int
    seconds: float
    fault: str


def fuzz(name: str, *, cases: int, seconds: int, memory: Path) -> Result:
    """One target, in rounds that share its inputs.

    Args:
        memory: folder for its films, each of which is synced to its disk.
    """
    inputs = memory / "inputs"
    inputs.mkdir()
    for number, seed in enumerate(TARGETS[name].seeds()):
        (inputs / f"seed-{number}").write_bytes(seed)
    KEPT.mkdir(exist_ok=True)
    done, started, fault = 0, time.monotonic(), ""
    while not fault and done < cases and (left := seconds - (time.monotonic() - started)) > 1:
        ran, fault = _round(name, min(cases - done, TARGETS[name].round_cases), int(left), inputs)
        done += ran
        if not ran:
            break
    return Result(cases=done, seconds=time.monotonic() - started, fault=fault)


def _round(name: str, cases: int, seconds: int, inputs: Path) -> tuple[int, str]:
    """A process of its own. Returns how many cases it tried, and the end of what it said where one was a fault."""
    options = (
        f"-runs={cases}",
        f"-max_total_time={seconds}",
        f"-timeout={HANG_SECONDS}",
        f"-rss_limit_mb={MOST_MEGABYTES}",
        f"-artifact_prefix={KEPT}/{name}-",
        "-print_final_stats=1",
    )
    ran = subprocess.run(
        [sys.executable, "-m", "tests.fuzz.one", name, *options, str(inputs)],
        capture_output=True,
        text=True,
        errors="replace",
        env=os.environ | {"TMPDIR": str(inputs.parent)},
        check=False,
    )
    said = ran.stdout + ran.stderr
    count = re.search(r"number_of_executed_units:\s*(\d+)", said) or re.search(r"Done (\d+)", said)
    return int(count[1]) if count else 0, "" if ran.returncode == 0 else said[-3000:]


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz")
    parser.add_argument("targets", nargs="*", choices=[*TARGETS, []], help="all, without one")
    parser.add_argument("--cases", type=int, default=1_000_000)
    parser.add_argument("--seconds", type=int, default=900)
    asked = parser.parse_args()
    names = asked.targets or list(TARGETS)
    faults = total = 0
    print(f"{'target':10} {'cases':>9} {'a second':>9}  it reads")
    for name in names:
        with tempfile.TemporaryDirectory(dir=MEMORY if MEMORY.is_dir() else None) as memory:
            done = fuzz(name, cases=asked.cases // len(names), seconds=asked.seconds // len(names), memory=Path(memory))
        total += done.cases
        faults += bool(done.fault)
        print(f"{name:10} {done.cases:9,} {done.cases / done.seconds:9,.0f}  {TARGETS[name].reads}", flush=True)
        if done.fault:
            print(done.fault)
    print(f"{'all':10} {total:9,}            {faults} with a fault")
    return 1 if faults else 0


if __name__ == "__main__":
    sys.exit(main())
