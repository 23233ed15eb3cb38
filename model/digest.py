"""The digest that names a file, in bundles, prepared sets, reports and the audit trail."""

import hashlib
from pathlib import Path


def file_digest(path: Path) -> str:
    """SHA-256, hex. Raises OSError."""
    with path.open("rb") as handle:
        return hashlib.file_digest(handle, "sha256").hexdigest()
