"""The durable store of received bytes: `SPOOL/ab/abcdef….dcm`, named by the SHA-256 of the file and nothing a peer
says.

    incoming/*.part -> fsync -> rename -> fsync(directory)

A .part file is locked while it is written, so whatever is left unlocked after a crash can be swept.
"""

import contextlib
import ctypes
import errno
import fcntl
import hashlib
import os
import queue
import secrets
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from dicom_gateway.errors import NoSpace, StoreUnavailable, TooLarge

MEBIBYTE = 1 << 20
FILE_MODE = 0o600
FOLDER_MODE = 0o700
CHECK_SPACE_EVERY = 16 * MEBIBYTE
WRITE_BACK_EVERY = MEBIBYTE
READ_BEHIND = 256 << 10
INCOMING = "incoming"
SYNC_FILE_RANGE_WRITE = 2  # linux/fs.h


@dataclass(frozen=True, kw_only=True)
class Stored:
    digest: str
    """SHA-256 of the whole file, hex."""
    path: Path
    size: int
    """Bytes."""
    fresh: bool
    """No film was there under its name before: only then may it be dropped when it is refused."""


class Spool:
    """A folder of films. Any number of processes may write to one spool."""

    def __init__(
        self,
        root: Path,
        *,
        reserve_bytes: int = 1 << 30,
        max_bytes: int = 512 << 20,
        check_every: int = CHECK_SPACE_EVERY,
    ) -> None:
        """
        Args:
            root: folder, created with mode 0700 by `prepare`.
            reserve_bytes: free space that a film must leave on the file system.
            max_bytes: largest film.
            check_every: bytes of a film after which the free space is looked at again.
        """
        self.root = root
        self.reserve_bytes = reserve_bytes
        self.max_bytes = max_bytes
        self.check_every = check_every
        self._incoming = root / INCOMING

    def for_strangers(self) -> "Spool":
        """The same folder for unknown peers: they leave twice the reserve free, so that known ones have room."""
        return Spool(
            self.root, reserve_bytes=2 * self.reserve_bytes, max_bytes=self.max_bytes, check_every=WRITE_BACK_EVERY
        )

    def prepare(self) -> int:
        """Create the folders durably and sweep what a crash left half written. Returns how many files were swept."""
        for folder in (self.root, self._incoming, *(self.root / f"{shard:02x}" for shard in range(256))):
            folder.mkdir(mode=FOLDER_MODE, parents=True, exist_ok=True)
        for folder in (self.root, *self.root.parents[:2]):  # those that mkdir may have made
            sync_folder(folder)
        return sum(_remove_if_unlocked(part) for part in self._incoming.glob("*.part"))

    def path_of(self, digest: str) -> Path:
        return self.root / digest[:2] / f"{digest}.dcm"

    def open(self) -> "Incoming":
        """Begin a film. Raises NoSpace below the reserve, StoreUnavailable if the folder cannot be written."""
        self.check_space()
        path = self._incoming / f"{secrets.token_hex(12)}.part"
        try:
            descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, FILE_MODE)
        except OSError as error:
            raise StoreUnavailable from error
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        return Incoming(self, path, descriptor)

    def check_space(self) -> None:
        """Raise NoSpace where less than the reserve is free."""
        try:
            free = free_bytes(self.root)
        except OSError as error:
            raise StoreUnavailable from error
        if free < self.reserve_bytes:
            raise NoSpace


class Incoming:
    """One film being written. Ends with `commit` or `discard`; `discard` after `commit` does nothing."""

    def __init__(self, spool: Spool, path: Path, descriptor: int) -> None:
        self._spool = spool
        self.path = path
        self._descriptor = descriptor
        self._digest = TrailingDigest(descriptor)
        self._size = 0
        self._checked = 0
        self._written_back = 0

    def write(self, chunk: bytes | memoryview) -> None:
        """Append. Raises TooLarge, NoSpace, or StoreUnavailable on any other failure of the file system."""
        self._size += len(chunk)
        if self._size > self._spool.max_bytes:
            raise TooLarge
        if self._size - self._checked > self._spool.check_every:
            self._checked = self._size
            self._spool.check_space()
        try:
            written = os.write(self._descriptor, chunk)
            while written < len(chunk):
                written += os.write(self._descriptor, chunk[written:])
        except OSError as error:
            raise _refusal(error) from error
        if self._size - self._written_back >= WRITE_BACK_EVERY:
            _start_write_back(self._descriptor, self._written_back, self._size - self._written_back)
            self._written_back = self._size
            self._digest.advance(self._size)

    def commit(self) -> Stored:
        """Make the film durable under its own digest. After this returns, a power cut does not lose it."""
        try:
            digest = self._digest.finish(self._size)
            final = self._spool.path_of(digest)
            os.fsync(self._descriptor)
            fresh = not final.exists()
            self.path.rename(final)
            sync_folder(final.parent)
        except OSError as error:
            raise _refusal(error) from error
        self._close()
        return Stored(digest=digest, path=final, size=self._size, fresh=fresh)

    def discard(self) -> None:
        if self._descriptor >= 0:
            with contextlib.suppress(FileNotFoundError):
                self.path.unlink()
            self._digest.finish(0)
            self._close()

    def _close(self) -> None:
        os.close(self._descriptor)
        self._descriptor = -1


class TrailingDigest:
    """SHA-256 of a file while it is written: a thread reads behind the writer, so that hashing costs it no time.

    Small films never start the thread.
    """

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor
        self._sha256 = hashlib.sha256()
        self._done = 0
        self._ends: queue.SimpleQueue[int] | None = None
        self._thread: threading.Thread | None = None

    def advance(self, end: int) -> None:
        """Everything before byte `end` is written."""
        if self._ends is None:
            self._ends = queue.SimpleQueue()
            self._thread = threading.Thread(target=self._follow, args=(self._ends,), daemon=True)
            self._thread.start()
        self._ends.put(end)

    def finish(self, size: int) -> str:
        """The digest of the first `size` bytes, hex; 0 gives up. The thread is gone when this returns."""
        if self._ends and self._thread:
            self._ends.put(-1)
            self._thread.join()
            self._ends = self._thread = None
        self._read_to(size)
        return self._sha256.hexdigest()

    def _follow(self, ends: "queue.SimpleQueue[int]") -> None:
        with contextlib.suppress(OSError):  # `finish` reads on from there, and raises it in the writer's thread
            while (end := ends.get()) >= 0:
                self._read_to(end)

    def _read_to(self, end: int) -> None:
        while self._done < end:
            chunk = os.pread(self._descriptor, min(end - self._done, READ_BEHIND), self._done)
            if not chunk:
                raise OSError(errno.EIO, "the file is shorter than what was written to it")
            self._sha256.update(chunk)
            self._done += len(chunk)


@contextlib.contextmanager
def promising(film: Path) -> Iterator[None]:
    """While a stored film is committed to the database nobody drops it. Raises StoreUnavailable where it is gone.

    The lock is on the folder: a film that is stored again replaces the file, and a lock on that with it.
    """
    try:
        descriptor = os.open(film.parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    except OSError as error:
        raise StoreUnavailable from error
    try:
        with contextlib.suppress(OSError):  # a file system without such locks has none for `drop` either
            fcntl.flock(descriptor, fcntl.LOCK_SH)
        if not film.exists():
            raise StoreUnavailable
        yield
    finally:
        os.close(descriptor)


def drop(film: Path, unless: Callable[[], bool]) -> None:
    """Remove a film that was refused, unless it is promised. It stays where that cannot be known.

    Args:
        unless: asked while nobody can promise a film of this folder.
    """
    with contextlib.suppress(OSError):
        descriptor = os.open(film.parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            if not unless():
                film.unlink(missing_ok=True)
        finally:
            os.close(descriptor)


def is_spool(folder: Path) -> bool:
    """Whether a gateway prepared it. An image or an unmounted volume may have an empty folder of the same name."""
    return (folder / INCOMING).is_dir()


def free_bytes(folder: Path) -> int:
    """Free space as C-STORE counts it. Raises OSError where no gateway prepared the folder."""
    status = os.statvfs(folder / INCOMING)
    return status.f_bavail * status.f_frsize


def sync_folder(folder: Path) -> None:
    """fsync a directory, so that a rename in it survives a power cut."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _start_write_back(descriptor: int, offset: int, length: int) -> None:
    """Let the disk begin while the peer still sends (measured: the closing fsync of 10 MB falls from 7 ms to 1)."""
    if sync_file_range := getattr(_libc(), "sync_file_range", None):
        sync_file_range(descriptor, ctypes.c_int64(offset), ctypes.c_int64(length), SYNC_FILE_RANGE_WRITE)


@cache
def _libc() -> ctypes.CDLL:
    return ctypes.CDLL(None)


def _refusal(error: OSError) -> NoSpace | StoreUnavailable:
    return NoSpace() if error.errno in (errno.ENOSPC, errno.EDQUOT) else StoreUnavailable()


def _remove_if_unlocked(part: Path) -> bool:
    try:
        descriptor = os.open(part, os.O_RDWR | os.O_CLOEXEC)
    except FileNotFoundError:
        return False
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        part.unlink()
    except BlockingIOError:
        return False
    finally:
        os.close(descriptor)
    return True
