"""Films to network inputs in child processes that may crash, hang or run out of memory without hurting the worker."""

import errno
import os
import threading
import time
from collections.abc import Iterator, Mapping
from concurrent.futures import FIRST_COMPLETED, Future, wait
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import date
from multiprocessing import forkserver, get_context
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from pebble import ProcessPool

from dicom_gateway.errors import PixelError, Refusal
from dicom_gateway.header import Header, read_header
from dicom_gateway.pixels import read_radiograph
from model.digest import file_digest
from model.gate.quality import Quality, measure
from model.preprocess import PreprocessSpec, to_input
from worker.confined import confine_decoder
from worker.dead_letters import OF_PIXELS, OF_SERVICE
from worker.queue.child_faults import fault_of_child
from worker.queue.retry import Again, Fault, decide, fault_of_reason

FILMS_PER_PROCESS = 2000  # then a fresh one: decoders leak

LOOK_AFTER = 1.0
CRASH_REASONS: dict[str, str] = {
    fault: OF_SERVICE[fault][0]
    for fault in (
        Fault.DECODER_CRASHED,
        Fault.DECODER_TIMEOUT,
        Fault.DECODER_MEMORY,
        Fault.DECODER_ERROR,
        Fault.SPOOL_MISSING,
        Fault.SPOOL_DAMAGED,
    )
}
"""Of the faults in `worker.queue.retry`, those that decoding finds and that end a film."""


@dataclass(frozen=True, kw_only=True)
class Decoded:
    """An input, or the reason why there is none."""

    image: NDArray[np.uint8] | None
    """uint8 [size, size]"""
    reason: str | None
    """The name of a Fault, or the code of a PixelError."""
    quality: Quality | None = None
    """Of the whole film, for the gate; None where there is no input."""
    for_processing: bool = False
    """For the gate: made for a machine, and its header does not say how to show it."""
    notes: tuple[str, ...] = ()
    """What was odd about how it is shown, codes of `dicom_gateway.notes`."""
    header: Header | None = None
    """Where it was asked for and could be read, whether or not there is an input."""
    seconds: float | None = None
    """In the decoder; None where it did not come to an answer."""


class DecodePool:
    """A fixed number of decoder processes. Safe to use from several threads."""

    def __init__(
        self,
        *,
        processes: int,
        timeout: float,
        memory_bytes: int,
        spec: PreprocessSpec,
        max_pixels: int,
        reduce: bool = True,
    ) -> None:
        """
        Args:
            timeout: seconds for one film; then its process is killed.
            memory_bytes: address space of each process.
            reduce: decode JPEG 2000 at a lower resolution where the film is much larger than the input.
        """
        self._timeout = timeout
        self._spec = spec
        self._max_pixels = max_pixels
        self._reduce = reduce
        self._processes = processes
        self._memory_bytes = memory_bytes
        self._lock = threading.Lock()
        # Decoders are forked from a process that imports what they need, once, and begins now.
        forkserver.set_forkserver_preload([__name__, "cv2"])
        forkserver.ensure_running()
        self._pool = self._start()

    def decode(
        self,
        paths: dict[int, Path],
        spec: PreprocessSpec | None = None,
        digests: Mapping[int, str] | None = None,
        received: Mapping[int, date] | None = None,
    ) -> Iterator[tuple[int, Decoded]]:
        """Decode films by key, yielding each as it is ready.

        A film is decoded once more where `worker.queue.retry` says so.

        Args:
            spec: of a bundle that reads films in another way than the pool was made for.
            digests: SHA-256 of the files as they were received, hex, by key; a file without one is not checked.
            received: days, by key, of films whose header is to be read too.
        """
        spec, digests, received = spec or self._spec, digests or {}, received or {}
        again: dict[int, Path] = {}
        for key, decoded in self._decode_once(paths, spec, digests, received):
            if decoded.reason and isinstance(decide(fault_of_reason(decoded.reason), decoded=1), Again):
                again[key] = paths[key]
            else:
                yield key, decoded
        yield from self._decode_once(again, spec, digests, received)

    def _decode_once(
        self,
        paths: dict[int, Path],
        spec: PreprocessSpec,
        digests: Mapping[int, str],
        received: Mapping[int, date],
    ) -> Iterator[tuple[int, Decoded]]:
        submitted = {key: self._submit(path, spec, digests.get(key), received.get(key)) for key, path in paths.items()}
        keys = {future: key for key, (future, _) in submitted.items()}
        pools = dict(submitted.values())
        pending = set(keys)
        while pending:
            done, pending = wait(pending, timeout=LOOK_AFTER, return_when=FIRST_COMPLETED)
            for future in done:
                yield keys[future], _result(future)
            # A pool that stopped answers nobody; another thread may have replaced it meanwhile.
            for future in [left for left in pending if not pools[left].active and not left.done()]:
                pending.remove(future)
                yield keys[future], Decoded(image=None, reason=Fault.DECODER_UNAVAILABLE)

    def close(self) -> None:
        self._pool.stop()
        self._pool.join()

    def _start(self) -> ProcessPool:
        return ProcessPool(
            max_workers=self._processes,
            max_tasks=FILMS_PER_PROCESS,
            initializer=confine_decoder,
            initargs=[self._memory_bytes],
            context=get_context("forkserver"),
        )

    def _submit(
        self, path: Path, spec: PreprocessSpec, digest: str | None, received: date | None
    ) -> "tuple[Future[Decoded], ProcessPool]":
        with self._lock:
            if not self._pool.active:  # its own machinery failed: a fresh one, or every later film would fail with it
                self._pool = self._start()
            least_side = spec.least_side if self._reduce else None
            future: Future[Decoded] = self._pool.schedule(
                decode_film,
                args=[str(path), spec, self._max_pixels, least_side, digest, received],
                timeout=self._timeout,
            )
            return future, self._pool


def decode_film(
    path: str,
    spec: PreprocessSpec,
    max_pixels: int,
    least_side: int | None = None,
    digest: str | None = None,
    received: date | None = None,
) -> Decoded:
    """What a decoder process does with one film. Its digest takes 10 ms for 15 MB (measured)."""
    started = time.monotonic()
    decoded = _decode(path, spec, max_pixels, least_side, digest, received)
    return replace(decoded, seconds=time.monotonic() - started)


def _decode(
    path: str,
    spec: PreprocessSpec,
    max_pixels: int,
    least_side: int | None,
    digest: str | None,
    received: date | None,
) -> Decoded:
    header = None
    try:
        if digest and file_digest(Path(path)) != digest:
            return Decoded(image=None, reason=Fault.SPOOL_DAMAGED)
        header = read_header(Path(path), received) if received else None
        radiograph = read_radiograph(Path(path), max_pixels=max_pixels, least_side=least_side)
    except Refusal:  # of a header that an earlier release took
        return Decoded(image=None, reason=PixelError.reason)
    except PixelError as error:
        return Decoded(image=None, reason=error.reason, header=header)
    except FileNotFoundError:
        readable = _can_be_listed(Path(path).parent)
        return Decoded(image=None, reason=Fault.SPOOL_MISSING if readable else Fault.DECODER_UNAVAILABLE)
    except MemoryError:
        return Decoded(image=None, reason=Fault.DECODER_MEMORY)
    except OSError as error:
        if error.errno == errno.ENOMEM:  # a mapping of the file that does not fit the address space
            return Decoded(image=None, reason=Fault.DECODER_MEMORY)
        readable = _can_be_listed(Path(path).parent)
        return Decoded(image=None, reason=Fault.SPOOL_UNREADABLE if readable else Fault.DECODER_UNAVAILABLE)
    image = to_input(
        radiograph.pixels,
        low=radiograph.low,
        high=radiograph.high,
        inverted=radiograph.inverted,
        aspect=radiograph.aspect,
        spec=spec,
    )
    quality = measure(
        radiograph.pixels,
        low=radiograph.low,
        high=radiograph.high,
        inverted=radiograph.inverted,
        rows=radiograph.rows,
        columns=radiograph.columns,
    )
    for_processing, notes = radiograph.for_processing, radiograph.notes
    del radiograph  # it may be a mapping of the file, and mapped pages stay
    _leave_page_cache(path)
    return Decoded(image=image, reason=None, quality=quality, for_processing=for_processing, notes=notes, header=header)


def _can_be_listed(folder: Path) -> bool:
    """Whether the fault is of one file, and not of the spool or of this process."""
    try:
        with os.scandir(folder) as entries:
            next(entries, None)
    except OSError:
        return False
    return True


def _leave_page_cache(path: str) -> None:
    """A film is decoded once: its pages go to the next film, instead of pushing out what is used again."""
    with suppress(OSError):
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        try:
            os.posix_fadvise(descriptor, 0, 0, os.POSIX_FADV_DONTNEED)
        finally:
            os.close(descriptor)


def reasons() -> dict[str, str]:
    """Every reason code that decoding can give, with its meaning."""
    return OF_PIXELS | CRASH_REASONS


def _result(future: "Future[Decoded]") -> Decoded:
    try:
        return future.result()
    except Exception as error:  # noqa: BLE001 - whatever a child raised, it is about this film alone
        return Decoded(image=None, reason=fault_of_child(error))
