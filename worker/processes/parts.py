"""Parts that several processes and commands are made of, each from the settings."""

import _thread
import errno
import os
import signal
import socket
import tempfile
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from threading import Event
from typing import TYPE_CHECKING

from worker.errors import ConfigurationError, Unhealthy

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray
    from sqlalchemy import Engine

    from dicom_gateway.revision import Comparison
    from dicom_gateway.spool import Spool
    from model.preprocess import PreprocessSpec
    from worker.peers.deciding import CompareFilms
    from worker.receiving.same_picture import Comparing
    from worker.scoring.decoding import DecodePool
    from worker.settings import Settings


def start_logging(settings: "Settings") -> None:
    from worker import logs

    logs.configure(settings.log_level, settings.log_format)


def open_database(settings: "Settings", *, writes: bool = False) -> "Engine":
    """An engine whose schema is this version's.

    Args:
        writes: without that the caller is of no use.

    Raises Unhealthy when it is not, or when the database does not answer, or takes no rows where that matters.
    """
    from worker.db import schema

    return schema.connect(settings.database, settings.database_timeout, writes=writes)


def open_spool(settings: "Settings") -> "Spool":
    """The spool of the settings. Raises ConfigurationError where a file stands in its place."""
    from dicom_gateway.spool import MEBIBYTE, Spool

    must_be_folder(settings.spool_folder, variable_of_spool(settings))
    return Spool(
        settings.spool_folder,
        reserve_bytes=settings.spool_reserve_mib * MEBIBYTE,
        max_bytes=settings.max_instance_mib * MEBIBYTE,
    )


LONGEST_TMPDIR = 75
"""Bytes. A socket's path has 107 at most (unix(7)); multiprocessing's own names in it take 32."""


def decode_pool(settings: "Settings", spec: "PreprocessSpec", *, processes: int) -> "DecodePool":
    """Decoders with the limits of the settings, started. `spec` is how the live bundle reads a film.

    Raises ConfigurationError where their sockets cannot be made.
    """
    folder = tempfile.gettempdir()
    if len(os.fsencode(folder)) > LONGEST_TMPDIR:
        raise ConfigurationError(
            f"TMPDIR: {folder} is too long, {LONGEST_TMPDIR} characters at most: decoders have sockets in it"
        )
    from dicom_gateway.spool import MEBIBYTE
    from worker.scoring.decoding import DecodePool

    return DecodePool(
        processes=processes,
        timeout=settings.decode_timeout,
        memory_bytes=settings.decode_memory_mib * MEBIBYTE,
        spec=spec,
        max_pixels=int(settings.max_megapixels * 1e6),
        reduce=settings.reduced_resolution,
    )


@contextmanager
def film_reader(settings: "Settings") -> Iterator["Callable[[Path, PreprocessSpec], NDArray[np.uint8]]"]:
    """Reads films as a worker does: in a process that may crash, which begins with the first one.

    What it gives raises Unhealthy with the decoder's reason.
    """
    with ExitStack() as end:
        pools: list[DecodePool] = []  # none, or one

        def read(film: Path, spec: "PreprocessSpec") -> "NDArray[np.uint8]":
            if not pools:
                pools.append(decode_pool(settings, spec, processes=1))
                end.callback(pools[0].close)
            ((_, decoded),) = pools[0].decode({0: film}, spec)
            if decoded.image is None:
                raise Unhealthy(f"the film gives no radiograph now: {decoded.reason}")
            return decoded.image

        yield read


def comparing(settings: "Settings") -> "Comparing":
    from dicom_gateway.spool import MEBIBYTE
    from worker.receiving.same_picture import Comparing

    return Comparing(memory_bytes=settings.decode_memory_mib * MEBIBYTE, max_pixels=int(settings.max_megapixels * 1e6))


@contextmanager
def film_comparison(settings: "Settings") -> Iterator["CompareFilms"]:
    """Compares two films of the spool, by their digests.

    Raises ConfigurationError where the spool of the settings is not the one that the films are in. What it gives raises
    that too, and Unhealthy where a film is there and cannot be read: not compared, the same film would be scored twice.
    """
    from dicom_gateway.revision import compare

    spool, variable = open_spool(settings), variable_of_spool(settings)
    _must_be_spool(spool.root, variable)
    pictures = comparing(settings)

    def look(first: str, second: str) -> "Comparison":
        earlier, later = spool.path_of(first), spool.path_of(second)
        try:
            if not (earlier.exists() or later.exists()):
                _must_be_spool(spool.root, variable)
                raise ConfigurationError(
                    f"{variable}: neither of two films to compare is in {spool.root}: {_ELSEWHERE}"
                )
            return compare(earlier, later, pictures.same_picture, can_wait=True)
        except OSError as error:
            why = error.strerror or type(error).__name__
            raise Unhealthy(f"a film of the spool {spool.root} cannot be read to compare it: {why}") from None

    try:
        yield look
    finally:
        pictures.close()


_ELSEWHERE = "run this where the gateway's spool is, as the gateway's user"


def _must_be_spool(folder: Path, variable: str) -> None:
    """Raises ConfigurationError."""
    from dicom_gateway.spool import is_spool

    with _usable(folder, variable):
        if not is_spool(folder):
            raise ConfigurationError(f"{variable}: no gateway has its spool in {folder}: {_ELSEWHERE}")


def broker_url(settings: "Settings") -> str:
    """Where Redis is. Raises ConfigurationError where the settings do not say."""
    if not settings.redis_url:
        raise ConfigurationError(
            "XRAYQ_REDIS_URL is not set: 'xrayq up' brings its own Redis, single processes need one"
        )
    return settings.redis_url


def make_folder(folder: Path, variable: str) -> None:
    """Where it is missing. Raises ConfigurationError where that is impossible, or this user may not write there."""
    must_be_folder(folder, variable)
    with _usable(folder, variable):
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    if not os.access(folder, os.W_OK | os.X_OK):
        raise ConfigurationError(f"{variable}: no permission to write in {folder}")


def must_be_folder(folder: Path, variable: str) -> None:
    """It may be missing. Raises ConfigurationError where something else stands in its place, or in a parent's."""
    with _usable(folder, variable):
        for part in (folder, *folder.parents):
            if part.is_symlink() and not part.exists():
                raise ConfigurationError(f"{variable}: {part} is a link to something that is not there")
            if part.exists():
                if not part.is_dir():
                    raise ConfigurationError(f"{variable}: {part} is a file and not a folder")
                return


@contextmanager
def _usable(folder: Path, variable: str) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise ConfigurationError(f"{variable}: cannot use {error.filename or folder}: {error.strerror}") from None


def prepare_spool(settings: "Settings", spool: "Spool") -> int:
    """Its folders. Returns how many half-written films were swept. Raises ConfigurationError."""
    variable = variable_of_spool(settings)
    make_folder(spool.root, variable)
    with _usable(spool.root, variable):
        return spool.prepare()


def variable_of_spool(settings: "Settings") -> str:
    return "XRAYQ_SPOOL" if settings.spool else "XRAYQ_HOME"


def cannot_listen(host: str, port: int, error: OSError) -> Unhealthy:
    """Why the DICOM port cannot be had, and what to do, in one line."""
    todo = "set XRAYQ_PORT or --port, XRAYQ_TLS_PORT for TLS, or XRAYQ_STOW"
    if isinstance(error, socket.gaierror) or error.errno == errno.EADDRNOTAVAIL:
        todo = "set XRAYQ_HOST to an address of this machine"
    elif error.errno == errno.EACCES:
        todo = "a port below 1024 needs the capability CAP_NET_BIND_SERVICE, or set another"
    return Unhealthy(f"cannot listen on {host}:{port}: {error.strerror}; {todo}")


def told_to_stop() -> Event:
    """Set by SIGTERM and SIGINT."""
    stop = Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        # In a thread: what it interrupted may be a wait for this event, and hold the lock that `set` needs.
        signal.signal(number, lambda *_: _thread.start_new_thread(stop.set, ()))
    return stop
