"""Keys: made once, for their owner alone, and read as OpenSSL reads them."""

import hashlib
import stat
import subprocess
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
)

from tests.services import tool, typed
from worker.errors import Unhealthy
from worker.evidence import keys


def test_a_pair_is_made_once(tmp_path: Path) -> None:
    home = tmp_path / "home"
    done = typed("evidence", "keygen", home=str(home))
    assert done.returncode == 0, done.stderr
    private, public = home / keys.PRIVATE, home / keys.PUBLIC
    assert (stat.S_IMODE(private.stat().st_mode), stat.S_IMODE(public.stat().st_mode)) == (0o600, 0o644)
    key = keys.private_key(private)
    assert keys.fingerprint(key.public_key()) == keys.fingerprint(keys.public_key(public))
    assert f"fingerprint {keys.fingerprint(key.public_key())}" in done.stdout
    before = private.read_bytes()
    done = typed("evidence", "keygen", home=str(home))
    assert (done.returncode, "a key is never replaced" in done.stderr, private.read_bytes()) == (2, True, before)
    private.unlink()
    assert typed("evidence", "keygen", home=str(home)).returncode == 2
    assert not private.exists()


def test_a_pair_elsewhere(tmp_path: Path) -> None:
    done = typed("evidence", "keygen", "--out", str(tmp_path / "keys"), home=str(tmp_path / "home"))
    assert f"sign with it: XRAYQ_EVIDENCE_KEY={tmp_path / 'keys' / keys.PRIVATE}" in done.stdout
    (tmp_path / "file").write_text("")
    done = typed("evidence", "keygen", "--out", str(tmp_path / "file"), home=str(tmp_path / "home"))
    assert (done.returncode, done.stderr.count("\n")) == (1, 1), done.stderr


def test_openssl_reads_them(tmp_path: Path) -> None:
    openssl = tool("openssl", "openssl")
    public = keys.make_pair(tmp_path / keys.PRIVATE)
    read = [openssl, "pkey", "-in", str(tmp_path / keys.PRIVATE), "-pubout", "-outform", "DER"]
    der = subprocess.run(read, check=True, capture_output=True).stdout
    assert hashlib.sha256(der).hexdigest() == keys.fingerprint(keys.public_key(public))


def pem(key: Ed25519PrivateKey | ec.EllipticCurvePrivateKey, password: bytes = b"") -> bytes:
    encryption = BestAvailableEncryption(password) if password else NoEncryption()
    return key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, encryption)


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"a letter",
        pem(ec.generate_private_key(ec.SECP256R1())),
        pem(Ed25519PrivateKey.generate(), b"password"),
        keys.pem_of(Ed25519PrivateKey.generate().public_key()),
    ],
    ids=["empty", "text", "another kind", "with a password", "a public one"],
)
def test_what_is_no_private_key(content: bytes, tmp_path: Path) -> None:
    (tmp_path / "key").write_bytes(content)
    with pytest.raises(Unhealthy, match="is no"):
        keys.private_key(tmp_path / "key")


@pytest.mark.parametrize(
    "content",
    [
        b"",
        pem(Ed25519PrivateKey.generate()),
        ec.generate_private_key(ec.SECP256R1())
        .public_key()
        .public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo),
        b"PK" + keys.pem_of(Ed25519PrivateKey.generate().public_key()),
    ],
    ids=["empty", "a private one", "another kind", "inside of something"],
)
def test_what_is_no_public_key(content: bytes, tmp_path: Path) -> None:
    (tmp_path / "key").write_bytes(content)
    with pytest.raises(Unhealthy, match="is no public"):
        keys.public_key(tmp_path / "key")


def test_no_pack_without_a_key(tmp_path: Path) -> None:
    done = typed("evidence", "make", "1", home=str(tmp_path))
    assert (done.returncode, "'xrayq evidence keygen' makes a pair" in done.stderr) == (3, True)
