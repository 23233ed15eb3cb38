"""What a single setting may hold. Each function returns the value, or raises ValueError in words that do not repeat it:
it may hold a password."""

import os
from base64 import b64decode
from pathlib import Path
from urllib.parse import urlsplit

BROKERS = ("redis", "rediss", "redis+socket")
LONGEST_TITLE = 16
WEBHOOK_PREFIX = "whsec_"
LEAST_SECRET, LEAST_KEY = 16, 24
"""Characters of a plain secret, and bytes behind `whsec_`, as the specification has them."""


def broker(url: str) -> str:
    """An address of a Redis: a typing error would otherwise be found when the first film waits."""
    if not url:
        return url
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError:
        raise ValueError("has no such port: it should be like redis://host:6379/0") from None
    if parts.scheme not in BROKERS:
        raise ValueError("should begin with redis://, rediss:// or redis+socket://: xrayq speaks to Redis alone")
    if parts.scheme == "redis+socket":
        if parts.netloc or not parts.path.startswith("/"):
            raise ValueError("should be like redis+socket:///run/redis.sock")
    elif not parts.hostname or port == 0:
        raise ValueError("should name a host, as redis://host:6379/0 does")
    elif not (parts.path.strip("/").isdecimal() or parts.path in ("", "/")):
        raise ValueError("should end with the number of a database, as redis://host:6379/0 does")
    return url


def title(name: str) -> str:
    """An AE title: the default repertoire without backslash and control characters, not spaces alone (PS3.5 6.2)."""
    if len(name) > LONGEST_TITLE or not name.strip():
        raise ValueError(f"should be an AE title of 1 to {LONGEST_TITLE} characters")
    if not (name.isascii() and name.isprintable()) or "\\" in name:
        raise ValueError("should have letters, digits, spaces and signs of ASCII alone, and no backslash")
    return name


def place(path: Path) -> Path:
    """The path, absolute, `~` resolved."""
    try:
        whole = path.expanduser().absolute()
    except RuntimeError:
        raise ValueError("begins with ~ and no home folder is known for it: give the whole path") from None
    if "\0" in str(whole):
        raise ValueError("holds a null character")
    longest = os.pathconf("/", "PC_NAME_MAX")
    if any(len(os.fsencode(part)) > longest for part in whole.parts):
        raise ValueError(f"has a name of more than {longest} bytes")
    return whole


def webhook_key(secret: str) -> bytes:
    """The key that a webhook is signed with: the bytes whose base64 follows `whsec_`, else the text itself.

    The error completes "XRAYQ_WEBHOOK_URL needs XRAYQ_WEBHOOK_SECRET, ...".
    """
    if not secret.startswith(WEBHOOK_PREFIX):
        if len(secret) < LEAST_SECRET:
            raise ValueError(f"{LEAST_SECRET} characters or more")
        return secret.encode()
    coded = secret.removeprefix(WEBHOOK_PREFIX)
    try:
        key = b64decode(coded + "=" * (-len(coded) % 4), validate=True)
    except ValueError:  # of characters, or of their number
        raise ValueError(f"with base64 after {WEBHOOK_PREFIX}") from None
    if len(key) < LEAST_KEY:
        raise ValueError(f"with {LEAST_KEY} bytes or more in base64 after {WEBHOOK_PREFIX}")
    return key
