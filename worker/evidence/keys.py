"""Ed25519 keys (RFC 8032) that packs are signed with, as OpenSSL reads and writes them."""

import hashlib
import os
from pathlib import Path

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
    load_pem_private_key,
    load_pem_public_key,
)

from worker.errors import ConfigurationError, NotFound, Unhealthy

PRIVATE, PUBLIC = "evidence.key", "evidence.pem"
"""Names of the files of a pair."""
MOST_BYTES = 10_000
"""Of a key's file; one has 120."""


def make_pair(private: Path) -> Path:
    """A new pair: the private key for its owner alone, the public one beside it. Returns the public one's path.

    Raises ConfigurationError where a file is there already, OSError.
    """
    public = private.with_name(PUBLIC)
    if taken := next((path for path in (private, public) if path.exists() or path.is_symlink()), None):
        raise ConfigurationError(
            f"{taken} is there: a key is never replaced, for packs that it signed could no longer be told from others"
        )
    key = Ed25519PrivateKey.generate()
    private.parent.mkdir(parents=True, exist_ok=True)
    _write(private, key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()), 0o600)
    _write(public, pem_of(key.public_key()), 0o644)
    return public


def private_key(path: Path) -> Ed25519PrivateKey:
    """Raises NotFound, Unhealthy where it is no such key."""
    content = _content(path, "'xrayq evidence keygen' makes a pair")
    try:
        key = load_pem_private_key(content, password=None)
    except (ValueError, TypeError):  # TypeError: it is encrypted
        key = None
    if not isinstance(key, Ed25519PrivateKey):
        raise Unhealthy(
            f"{path} is no private Ed25519 key in PEM, without a password: 'xrayq evidence keygen' makes one"
        )
    return key


def public_key(path: Path) -> Ed25519PublicKey:
    """Raises NotFound, Unhealthy where it is no such key."""
    key = read_public(_content(path, "give the path of the hospital's public key"))
    if key is None:
        raise Unhealthy(f"{path} is no public Ed25519 key in PEM")
    return key


def read_public(pem: bytes) -> Ed25519PublicKey | None:
    """None where it is no such key and nothing else: a pack has one in it, too."""
    if not pem.startswith(b"-----BEGIN PUBLIC KEY-----"):
        return None
    try:
        key = load_pem_public_key(pem)
    except ValueError:
        return None
    except Exception:  # noqa: BLE001 - a key of a kind that the library does not know has an error of its own
        return None
    return key if isinstance(key, Ed25519PublicKey) else None


def pem_of(key: Ed25519PublicKey) -> bytes:
    return key.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)


def fingerprint(key: Ed25519PublicKey) -> str:
    """SHA-256 of the public key in DER, hex: `openssl pkey -pubin -in FILE -outform DER | sha256sum`."""
    return hashlib.sha256(key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)).hexdigest()


def is_signed(key: Ed25519PublicKey, signature: bytes, content: bytes) -> bool:
    try:
        key.verify(signature, content)
    except InvalidSignature:
        return False
    return True


def _content(path: Path, advice: str) -> bytes:
    """`advice`: what to do where there is none."""
    try:
        with path.open("rb") as file:
            return file.read(MOST_BYTES)
    except FileNotFoundError:
        raise NotFound(f"no key {path}: {advice}") from None
    except OSError as error:
        raise Unhealthy(f"the key {path} cannot be read: {error.strerror}") from None


def _write(path: Path, content: bytes, mode: int) -> None:
    """A new file, never with more rights than these."""
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, mode)
    with os.fdopen(descriptor, "wb") as file:
        file.write(content)
        file.flush()
        os.fsync(descriptor)
