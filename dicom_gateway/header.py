"""The attributes that decide what happens to a film, read from a Part 10 file without touching its pixels.

Real files lie: every attribute here may be missing or odd, and comes out as None or "" rather than as an error. What
cannot be told without guessing (no UID, cut short, nested without end) is a Refusal.
"""

from dataclasses import dataclass
from datetime import UTC, date, datetime
from pathlib import Path

from pydicom.dataset import Dataset

from dicom_gateway.ages import age_at_film
from dicom_gateway.derived import derived_as
from dicom_gateway.errors import MissingIdentifier
from dicom_gateway.part10 import scan
from dicom_gateway.shutter import SHUTTER_TAGS
from dicom_gateway.values import MOST_VALUES, UNREADABLE, integer, one_uid, text, texts
from dicom_gateway.views import Code, all_views, coded_views, directions

IDENTIFYING_TAGS = (
    "SOPClassUID",
    "SOPInstanceUID",
    "StudyInstanceUID",
    "SeriesInstanceUID",
    "StudyDate",
    "Modality",
    "BodyPartExamined",
    "ViewPosition",
    "PatientOrientation",
    "PatientAge",
    "PatientBirthDate",
    "BurnedInAnnotation",
    "QualityControlImage",
    "AccessionNumber",
    "Rows",
    "Columns",
)
DATE_TAGS = (
    "StudyDate",
    "SeriesDate",
    "AcquisitionDate",
    "AcquisitionDateTime",
    "ContentDate",
    "InstanceCreationDate",
    "PerformedProcedureStepStartDate",
)
KIND_TAGS = (
    *DATE_TAGS,
    "ViewCodeSequence",
    "PatientOrientationCodeSequence",
    "ImageType",
    "DerivationCodeSequence",
    "DerivationDescription",
    "LossyImageCompression",
    "ConversionType",
    "SeriesDescription",
)
"""What `age`, `view_code` and `derived` are told by: of these only what they come to counts."""
DEVICE_TAGS = ("Manufacturer", "ManufacturerModelName", "StationName")
"""Which device made the film (PS3.3 C.7.5.1). It makes no other film: an archive may write them anew."""
IMAGE_TAGS = (
    "SOPClassUID",
    "PresentationIntentType",
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
    "PresentationLUTShape",
    "PixelSpacing",
    "ImagerPixelSpacing",
    "NominalScannedPixelSpacing",
    "PixelAspectRatio",
    *SHUTTER_TAGS,
)
"""What a film's pixels are read and shown with."""
MOST_KEPT = 64
"""Characters of a text that the database holds."""


@dataclass(frozen=True, kw_only=True)
class Header:
    sop_class_uid: str
    sop_instance_uid: str
    transfer_syntax_uid: str
    study_instance_uid: str
    """"" when it is missing or no UID, as that of the series."""
    series_instance_uid: str
    modality: str
    body_part: str
    view_position: str
    """View Position (0018,5101) as sent, upper case."""
    view_code: str
    """What View Code Sequence (0054,0220) says: see `views.coded_views`. Several are joined by backslashes."""
    patient_orientation: str
    """Patient Orientation (0020,0020), such as L\\F: see `views.directions`."""
    age_years: float | None
    """Patient's age at the film: see `ages.age_at_film`."""
    derived: str
    """What was made of the film, "" for the film itself: see `derived.derived_as`."""
    burned_in: str
    """Burned In Annotation (0028,0301): YES, NO or empty."""
    quality_control: str
    """Quality Control Image (0028,0300): YES, NO, BOTH or empty."""
    accession_number: str
    manufacturer: str
    """Manufacturer (0008,0070)."""
    model_name: str
    """Manufacturer's Model Name (0008,1090)."""
    station: str
    """Station Name (0008,1010)."""
    rows: int
    columns: int

    @property
    def views(self) -> tuple[str, ...]:
        """Every view that the header names: see `views.all_views`."""
        return all_views(self.view_position, self.view_code, self.patient_orientation)


def read_header(path: Path, received: date | None = None, *, most_inflated: int | None = None) -> Header:
    """Read and check a Part 10 file that was received on this day, today by default.

    Args:
        most_inflated: see `part10.scan`.

    Raises:
        Truncated, Malformed, TooDeep, TooLarge: see `part10.scan`.
        MissingIdentifier: no valid SOP Class or SOP Instance UID.
    """
    with path.open("rb") as handle:
        scanned = scan(handle, (*IDENTIFYING_TAGS, *KIND_TAGS, *DEVICE_TAGS), most_inflated=most_inflated)
    dataset = scanned.dataset
    sop_class, sop_instance = one_uid(dataset, "SOPClassUID"), one_uid(dataset, "SOPInstanceUID")
    if not sop_class or not sop_instance:
        raise MissingIdentifier
    return Header(
        sop_class_uid=sop_class,
        sop_instance_uid=sop_instance,
        transfer_syntax_uid=scanned.transfer_syntax_uid,
        study_instance_uid=one_uid(dataset, "StudyInstanceUID"),
        series_instance_uid=one_uid(dataset, "SeriesInstanceUID"),
        modality=text(dataset, "Modality").upper()[:MOST_KEPT],
        body_part=text(dataset, "BodyPartExamined").upper()[:MOST_KEPT],
        view_position="\\".join(_filled(dataset, "ViewPosition")).upper()[:MOST_KEPT],
        view_code=view_code(dataset),
        patient_orientation=directions(_filled(dataset, "PatientOrientation")),
        age_years=age(dataset, received or datetime.now(UTC).date()),
        derived=derived(dataset),
        burned_in=text(dataset, "BurnedInAnnotation").upper()[:16],
        quality_control=text(dataset, "QualityControlImage").upper()[:16],
        accession_number=text(dataset, "AccessionNumber")[:MOST_KEPT],
        manufacturer=text(dataset, "Manufacturer")[:MOST_KEPT],
        model_name=text(dataset, "ManufacturerModelName")[:MOST_KEPT],
        station=text(dataset, "StationName")[:MOST_KEPT],
        rows=integer(dataset, "Rows") or 0,
        columns=integer(dataset, "Columns") or 0,
    )


def codes(dataset: Dataset, keyword: str, within: str = "") -> list[Code]:
    """The items of a code sequence (PS3.3 8.8), or those of the sequence `within` each of its items."""
    try:
        items = list(dataset.get(keyword) or ())[:MOST_VALUES]
        if within:
            return [code for item in items for code in codes(item, within)]
    except UNREADABLE:
        return []
    return [
        Code(value=text(item, "CodeValue") or text(item, "LongCodeValue"), meaning=text(item, "CodeMeaning"))
        for item in items
        if isinstance(item, Dataset)
    ]


def age(dataset: Dataset, received: date) -> float | None:
    """Header.age_years of a film that was received on this day."""
    births = _filled(dataset, "PatientBirthDate")
    films = [text(dataset, keyword) for keyword in DATE_TAGS] if births else []
    return age_at_film(_filled(dataset, "PatientAge"), births, films, received)


def view_code(dataset: Dataset) -> str:
    """Header.view_code."""
    modifiers = [
        *codes(dataset, "ViewCodeSequence", "ViewModifierCodeSequence"),
        *codes(dataset, "PatientOrientationCodeSequence", "PatientOrientationModifierCodeSequence"),
    ]
    return "\\".join(coded_views(codes(dataset, "ViewCodeSequence"), modifiers))


def derived(dataset: Dataset) -> str:
    """Header.derived."""
    return derived_as(
        texts(dataset, "ImageType"),
        sop_class_uid=one_uid(dataset, "SOPClassUID"),
        derivations=codes(dataset, "DerivationCodeSequence"),
        lossy=text(dataset, "LossyImageCompression"),
        conversion=text(dataset, "ConversionType"),
        descriptions=texts(dataset, "SeriesDescription"),
        derivation_descriptions=texts(dataset, "DerivationDescription"),
    )


def _filled(dataset: Dataset, keyword: str) -> list[str]:
    """Every value that is not empty."""
    return [value for value in texts(dataset, keyword) if value]
