"""Whether this installation can draw the nightly report, asked without drawing in the process that asks."""

import subprocess
import sys

NEEDED = "import matplotlib.figure, matplotlib.backends.backend_svg"
SECONDS = 60.0
"""The first import of a fresh installation also lists the machine's fonts."""


def fault() -> str:
    """What keeps matplotlib from being loaded, "" where nothing does.

    In a process of its own: one with a broken library may crash, and a relay that imported it would keep 40 MB.
    """
    try:
        done = subprocess.run(
            [sys.executable, "-c", NEEDED], stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=SECONDS
        )
    except subprocess.TimeoutExpired:
        return f"it took longer than {SECONDS:.0f} s"
    if done.returncode == 0:
        return ""
    last = done.stderr.strip().rpartition("\n")[2]
    return last or f"it ended with exit code {done.returncode}"


def advice(found: str) -> str:
    """One line about a `fault`."""
    return f"matplotlib cannot be loaded ({found}): pip install --force-reinstall matplotlib"
