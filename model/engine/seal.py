"""A cache folder whose files only this installation may have written: a key, a lock, sealed and atomic writes."""

import fcntl
import hashlib
import hmac
import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from model.errors import EngineError

KEY, LOCK = "key", "lock"
KEY_BYTES = 32


@contextmanager
def locked(cache: Path) -> Iterator[None]:
    """Hold the folder for writing, alone among processes; waits. Makes the folder. Raises EngineError if it cannot."""
    try:
        cache.mkdir(mode=0o700, parents=True, exist_ok=True)
        handle = os.open(cache / LOCK, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
    except OSError as error:
        raise EngineError(f"the plan cache {cache} cannot be written: {error.strerror}") from error
    try:
        fcntl.flock(handle, fcntl.LOCK_EX)
        yield
    finally:
        os.close(handle)


def make_key(cache: Path) -> bytes:
    """The folder's key; a new one if it has none. Call it with the folder `locked`."""
    if not (cache / KEY).exists():
        write_atomically(cache / KEY, secrets.token_bytes(KEY_BYTES))
    return read_key(cache)


def read_key(cache: Path) -> bytes:
    """Raises EngineError when the key is missing, damaged, somebody else's, or others may read or write it."""
    path = cache / KEY
    try:
        handle = os.open(path, os.O_RDONLY | os.O_NOFOLLOW)
        with os.fdopen(handle, "rb") as file:
            status = os.fstat(file.fileno())
            key = file.read(KEY_BYTES + 1)
    except OSError as error:
        raise EngineError(f"the plan cache's key {path} cannot be read: {error.strerror}") from error
    if status.st_uid != os.geteuid() or status.st_mode & 0o077:
        raise EngineError(f"{path} must belong to the user that serves and have mode 0600: delete {path.parent}")
    if len(key) != KEY_BYTES:
        raise EngineError(f"{path} is damaged: delete {path.parent}")
    return key


def seal(key: bytes, content: bytes) -> str:
    """HMAC-SHA-256 of `content`, hex."""
    return hmac.new(key, content, hashlib.sha256).hexdigest()


def holds(key: bytes, content: bytes, sealed: str) -> bool:
    return hmac.compare_digest(seal(key, content).encode(), sealed.encode())


def write_atomically(path: Path, content: bytes) -> None:
    """Mode 0600; readers see the old file or the new one, also after a power cut. Call it with the folder `locked`.

    Raises EngineError when the disk refuses.
    """
    draft = path.with_name(path.name + ".part")
    try:
        draft.unlink(missing_ok=True)
        handle = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o600)
        with os.fdopen(handle, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        draft.rename(path)
        folder = os.open(path.parent, os.O_RDONLY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)
    except OSError as error:
        draft.unlink(missing_ok=True)
        raise EngineError(f"{path} cannot be written: {error.strerror}") from error
