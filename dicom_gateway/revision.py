"""Is a film that arrives again under its SOP Instance UID the same film?"""

import hashlib
from datetime import date
from pathlib import Path

from pydicom.dataset import Dataset
from pydicom.sequence import Sequence

from dicom_gateway.contexts import SYNTAX_BY_UID
from dicom_gateway.errors import Malformed, Refusal
from dicom_gateway.header import IMAGE_TAGS, KIND_TAGS, UNREADABLE, age, derived, text, view_code
from dicom_gateway.part10 import scan

GATE_TAGS = (
    "Modality",
    "BodyPartExamined",
    "ViewPosition",
    "PatientOrientation",
    "PatientAge",
    "PatientBirthDate",
    "StudyDate",
    "BurnedInAnnotation",
    "QualityControlImage",
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
        scanned = scan(handle, ("SOPClassUID", *IMAGE_TAGS, *GATE_TAGS, *KIND_TAGS))
        syntax = SYNTAX_BY_UID.get(scanned.transfer_syntax_uid)
        order = scanned.little_endian if syntax and syntax.codec == "raw" else True
        digest.update(f"{syntax.codec if syntax else scanned.transfer_syntax_uid} {order}".encode())
        for keyword in (*IMAGE_TAGS, *GATE_TAGS):
            digest.update(f"\n{keyword}={_shown(scanned.dataset, keyword)}".encode())
        told = age(scanned.dataset, date.max), view_code(scanned.dataset), derived(scanned.dataset)
        digest.update(f"\n{told}".encode())
        if scanned.pixels:
            scanned.stream.seek(scanned.pixels.offset)
            left = scanned.pixels.length
            while left and (chunk := scanned.stream.read(min(CHUNK, left))):
                digest.update(chunk)
                left -= len(chunk)
    return digest.hexdigest()


def _shown(dataset: Dataset, keyword: str) -> str:
    """Every value of an element; a look-up table by its entries. Raises Malformed."""
    try:
        value = dataset.get(keyword)
        if isinstance(value, Sequence):
            return repr([[item.get("LUTDescriptor"), item.get("LUTData")] for item in value])
    except UNREADABLE:
        raise Malformed from None
    return text(dataset, keyword) if isinstance(value, str) or not hasattr(value, "__getitem__") else repr(value)
