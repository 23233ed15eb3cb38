"""A child process that ends with its parent."""

import ctypes
import signal


def end_with_parent() -> None:
    """For a child between fork and exec: SIGTERM when the parent dies, however it dies (prctl PR_SET_PDEATHSIG)."""
    ctypes.CDLL(None).prctl(1, signal.SIGTERM)
