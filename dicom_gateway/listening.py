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


@contextmanager
def refusing_complaints() -> Iterator[None]:
    """Whatever a decoder says, in an exception, a swallowed one, a warning or a line, becomes CorruptPixels.

    In a process that decodes one film at a time, in one thread: hook, warnings and standard error are its own.
    """
    swallowed: list[Any] = []
    hook, sys.unraisablehook = sys.unraisablehook, swallowed.append
    try:
        with _standard_error() as said, redirect_stderr(io.StringIO()), warnings.catch_warnings():
            warnings.simplefilter("error")
            yield
    except (KeyboardInterrupt, SystemExit, MemoryError):
        raise
    except BaseException as error:  # noqa: BLE001 - pylibjpeg-rle panics with a BaseException; all mean the same here
        raise CorruptPixels(type(error).__name__) from None
    finally:
        sys.unraisablehook = hook
    if swallowed or any(complaint in said for complaint in COMPLAINTS):
        raise CorruptPixels


@contextmanager
def _standard_error() -> Iterator[bytearray]:
    """Fills what native code wrote, and shows it to nobody."""
    said = bytearray()
    try:
        outside = os.dup(STANDARD_ERROR)
    except OSError:  # closed
        yield said
        return
    kept = os.memfd_create("decoder")
    try:
        os.dup2(kept, STANDARD_ERROR)
        yield said
    finally:
        os.dup2(outside, STANDARD_ERROR)
        os.close(outside)
        said += os.pread(kept, 1 << 16, 0)
        os.close(kept)
