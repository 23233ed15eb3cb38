"""Passwords: Argon2id (RFC 9106) by argon2-cffi, at its default cost: 64 MiB and about 0.1 s each."""

import unicodedata

from argon2 import PasswordHasher
from argon2.exceptions import InvalidHashError, VerificationError

from worker.errors import ConfigurationError

LEAST, LONGEST = 12, 256
"""Characters (NIST SP 800-63B asks for 8 at least, and for no rules beside the length)."""
_hasher = PasswordHasher()
NOBODY = "$argon2id$v=19$m=65536,t=3,p=4$c29tZSBzYWx0IG9mIG91cnM$5PVfBwCYxoXoUpJrtFfLjXjB7fU9Ih7AJuCHrAqTTDQ"
"""Compared where a name is unknown, so that it takes as long. No password has this hash."""


def hashed(password: str) -> str:
    """Raises ConfigurationError where it is too short or too long."""
    if not LEAST <= len(password) <= LONGEST:
        raise ConfigurationError(f"a password has {LEAST} to {LONGEST} characters")
    return _hasher.hash(_plain(password))


def matches(password_hash: str | None, password: str) -> bool:
    """
    Args:
        password_hash: None of a name that is unknown.
    """
    try:
        same = _hasher.verify(password_hash or NOBODY, _plain(password[: LONGEST + 1]))
    except (VerificationError, InvalidHashError):
        return False
    return same and password_hash is not None


def _plain(password: str) -> str:
    """Keyboards write one letter in more than one way."""
    return unicodedata.normalize("NFC", password)
