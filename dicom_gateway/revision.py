"""Is a film that arrives again under its SOP Instance UID the same film?"""

import hashlib
from pathlib import Path

from dicom_gateway.contexts import SYNTAX_BY_UID
from dicom_gateway.errors import Refusal
from dicom_gateway.header import text
from dicom_gateway.part10 import scan
from dicom_gateway.pixels import IMAGE_TAGS

GATE_TAGS = (
    "Modality",
    "BodyPartExamined",
    "ViewPosition",
    "PatientAge",
    "PatientBirthDate",
    "StudyDate",
    "BurnedInAnnotation",
)
CHUNK = 1 << 20


def same_film(one: Path, other: Path) -> bool:
    """True when both files hold the same coded pixels, displayed the same way and passing the gate the same way.

    Names, dates and private elements may differ; they do not reach a score. A file that is gone or unreadable is never
    the same: a film is scored once too often rather than once too seldom.
    """
    try:
        return film_digest(one) == film_digest(other)
    except (OSError, Refusal):
        return False


def film_digest(path: Path) -> str:
    """SHA-256 over everything in a Part 10 file that a score depends on, hex. Raises Refusal or OSError."""
    digest = hashlib.sha256()
    with path.open("rb") as handle:
        scanned = scan(handle, (*IMAGE_TAGS, *GATE_TAGS))
        syntax = SYNTAX_BY_UID.get(scanned.transfer_syntax_uid)
        order = scanned.little_endian if syntax and syntax.codec == "raw" else True
        digest.update(f"{syntax.codec if syntax else scanned.transfer_syntax_uid} {order}".encode())
        for keyword in (*IMAGE_TAGS, *GATE_TAGS):
            element = scanned.dataset.get(keyword)
            shown = (
                text(scanned.dataset, keyword)
                if not hasattr(element, "__getitem__") or isinstance(element, str)
                else repr(element)
            )
            digest.update(f"\n{keyword}={shown}".encode())
        if scanned.pixels:
            scanned.stream.seek(scanned.pixels.offset)
            left = scanned.pixels.length
            while left and (chunk := scanned.stream.read(min(CHUNK, left))):
                digest.update(chunk)
                left -= len(chunk)
    return digest.hexdigest()
