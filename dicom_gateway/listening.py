"""What decoders say beside the picture.

imagecodecs swallows OpenJPH's exceptions (and leaves the rest of the picture black): only the interpreter's hook for
those sees them. It prints OpenJPEG's errors and warnings, and Rust prints its panics, both straight to the standard
error of the process. None of it may reach a log: it comes in floods, and may quote the film.
"""

import io
import os
import sys
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stderr
from typing import Any

from dicom_gateway.errors import CorruptPixels

STANDARD_ERROR = 2
COMPLAINTS = (b"JPEG2K error", b"JPEG2K warning")
"""How imagecodecs begins a line from OpenJPEG."""
DECODER = "imagecodecs."
"""How the name of the function begins that swallowed an exception. Others swallow too: any object that is collected."""
NOT_OF_A_FILM = (DeprecationWarning, PendingDeprecationWarning, FutureWarning, ResourceWarning)
"""Warnings of the code and not of the data: a new version of NumPy must not refuse every film."""


@contextmanager
def refusing_complaints() -> Iterator[None]:
    """Whatever a decoder says, in an exception, a swallowed one, a warning or a line, becomes CorruptPixels.

    What other code says meanwhile says nothing of the film, and goes where it would go.

    In a process that decodes one film at a time, in one thread: hook, warnings and standard error are the process's.
    """
    swallowed: list[Any] = []
    hook = sys.unraisablehook

    def keep(unraisable: Any) -> None:
        if str(unraisable.object).startswith(DECODER):
            swallowed.append(unraisable.exc_type)
        else:
            hook(unraisable)

    sys.unraisablehook = keep
    try:
        with _standard_error() as written, redirect_stderr(io.StringIO()), warnings.catch_warnings():
            warnings.simplefilter("error")
            for kind in NOT_OF_A_FILM:
                warnings.simplefilter("ignore", kind)
            yield
    except (KeyboardInterrupt, SystemExit, MemoryError):
        raise
    except BaseException as error:  # noqa: BLE001 - pylibjpeg-rle panics with a BaseException; all mean the same here
        raise CorruptPixels(type(error).__name__) from None
    finally:
        sys.unraisablehook = hook
    if swallowed or any(complaint in written for complaint in COMPLAINTS):
        raise CorruptPixels


@contextmanager
def _standard_error() -> Iterator[bytearray]:
    """Fills what native code wrote, and shows it to nobody."""
    written = bytearray()
    try:
        outside = os.dup(STANDARD_ERROR)
    except OSError:  # closed
        yield written
        return
    kept = os.memfd_create("decoder")
    try:
        os.dup2(kept, STANDARD_ERROR)
        yield written
    finally:
        os.dup2(outside, STANDARD_ERROR)
        os.close(outside)
        written += os.pread(kept, 1 << 16, 0)
        os.close(kept)
