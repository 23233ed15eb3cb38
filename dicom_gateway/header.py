"""The attributes that decide what happens to a film, read from a Part 10 file without touching its pixels.

Real files lie: every attribute here may be missing or odd, and comes out as None or "" rather than as an error. What
cannot be told without guessing (no UID, cut short, nested without end) is a Refusal.
"""

import re
from dataclasses import dataclass
from datetime import date
from pathlib import Path

from pydicom.dataset import Dataset
from pydicom.errors import BytesLengthException

from dicom_gateway.errors import MissingIdentifier
from dicom_gateway.part10 import scan

IDENTIFYING_TAGS = (
    "SOPClassUID",
    "SOPInstanceUID",
    "StudyInstanceUID",
    "SeriesInstanceUID",
    "StudyDate",
    "Modality",
    "BodyPartExamined",
    "ViewPosition",
    "PatientAge",
    "PatientBirthDate",
    "BurnedInAnnotation",
    "AccessionNumber",
    "Rows",
    "Columns",
)
IMAGE_TAGS = (
    "SamplesPerPixel",
    "PhotometricInterpretation",
    "NumberOfFrames",
    "Rows",
    "Columns",
    "BitsAllocated",
    "BitsStored",
    "HighBit",
    "PixelRepresentation",
    "PixelPaddingValue",
    "PixelPaddingRangeLimit",
    "RescaleIntercept",
    "RescaleSlope",
    "ModalityLUTSequence",
    "VOILUTSequence",
    "WindowCenter",
    "WindowWidth",
    "VOILUTFunction",
)
"""What a film's pixels are read and shown with."""
# What pydicom raises when it converts a value at its first use; OSError is its own, for a sequence that is cut short.
UNREADABLE = (
    BytesLengthException,
    ValueError,
    TypeError,
    LookupError,
    AttributeError,
    OverflowError,
    NotImplementedError,
    OSError,
    RecursionError,
)
UID_PATTERN = re.compile(r"[0-9]+(\.[0-9]+)*")
AGE_PATTERN = re.compile(r"(\d{1,3})\s*([DWMY]?)")
YEARS_PER_UNIT = {"D": 1 / 365.25, "W": 7 / 365.25, "M": 1 / 12, "Y": 1.0, "": 1.0}


@dataclass(frozen=True, kw_only=True)
class Header:
    sop_class_uid: str
    sop_instance_uid: str
    transfer_syntax_uid: str
    study_instance_uid: str
    series_instance_uid: str
    modality: str
    body_part: str
    view_position: str
    age_years: float | None
    """Patient's age at the study: Patient's Age (0010,1010), else from birth and study dates."""
    burned_in: str
    """Burned In Annotation (0028,0301): YES, NO or empty."""
    accession_number: str
    rows: int
    columns: int


def is_valid_uid(uid: str) -> bool:
    """PS3.5 9.1: digits and dots, at most 64 characters. Leading zeros are tolerated, as archives do."""
    return len(uid) <= 64 and UID_PATTERN.fullmatch(uid) is not None


def read_header(path: Path, *, most_inflated: int | None = None) -> Header:
    """Read and check a Part 10 file.

    Args:
        most_inflated: see `part10.scan`.

    Raises:
        Truncated, Malformed, TooDeep, TooLarge: see `part10.scan`.
        MissingIdentifier: no valid SOP Class or SOP Instance UID.
    """
    with path.open("rb") as handle:
        scanned = scan(handle, IDENTIFYING_TAGS, most_inflated=most_inflated)
    dataset = scanned.dataset
    sop_class, sop_instance = text(dataset, "SOPClassUID"), text(dataset, "SOPInstanceUID")
    if not is_valid_uid(sop_class) or not is_valid_uid(sop_instance):
        raise MissingIdentifier
    return Header(
        sop_class_uid=sop_class,
        sop_instance_uid=sop_instance,
        transfer_syntax_uid=scanned.transfer_syntax_uid,
        study_instance_uid=text(dataset, "StudyInstanceUID"),
        series_instance_uid=text(dataset, "SeriesInstanceUID"),
        modality=text(dataset, "Modality").upper(),
        body_part=text(dataset, "BodyPartExamined").upper(),
        view_position=text(dataset, "ViewPosition").upper(),
        age_years=_age(dataset),
        burned_in=text(dataset, "BurnedInAnnotation").upper()[:16],
        accession_number=text(dataset, "AccessionNumber"),
        rows=integer(dataset, "Rows") or 0,
        columns=integer(dataset, "Columns") or 0,
    )


def text(dataset: Dataset, keyword: str) -> str:
    """The first value as stripped printable text, "" when missing or unreadable; at most 64 characters."""
    try:
        value = dataset.get(keyword)
    except UNREADABLE:
        return ""
    if value is None:
        return ""
    if isinstance(value, (list, tuple)) or hasattr(value, "append"):
        value = value[0] if len(value) else ""
    return "".join(character for character in str(value) if character.isprintable()).strip()[:64]


def number(dataset: Dataset, keyword: str) -> float | None:
    """The first value as a finite number, None when missing or not one."""
    try:
        value = float(text(dataset, keyword))
    except ValueError:
        return None
    return value if abs(value) < float("inf") else None


def integer(dataset: Dataset, keyword: str) -> int | None:
    value = number(dataset, keyword)
    return None if value is None else int(value)


def _age(dataset: Dataset) -> float | None:
    match = AGE_PATTERN.fullmatch(text(dataset, "PatientAge").upper())
    if match:
        return round(int(match[1]) * YEARS_PER_UNIT[match[2]], 2)
    born, study = _date(text(dataset, "PatientBirthDate")), _date(text(dataset, "StudyDate"))
    if born and study and study >= born:
        return round((study - born).days / 365.25, 2)
    return None


def _date(value: str) -> date | None:
    """YYYYMMDD, or the retired YYYY.MM.DD that old archives still carry."""
    digits = value.replace(".", "").replace("-", "")
    try:
        return date(int(digits[:4]), int(digits[4:6]), int(digits[6:8])) if len(digits) == 8 else None
    except ValueError:
        return None
