"""What an object of ours says of patient and study: the same as its film, faults and all.

A PACS files an object by these attributes, so a wrong date is copied wrong. What is missing and must be there (type 2)
is written empty. Nothing here raises on a film's values, and writing them warns of none: a warning would quote them.
"""

from pydicom import config
from pydicom.datadict import dictionary_VR, tag_for_keyword
from pydicom.dataelem import DataElement
from pydicom.dataset import Dataset
from pydicom.sequence import Sequence
from pydicom.valuerep import CUSTOMIZABLE_CHARSET_VR

from dicom_gateway.uids import derived_uid
from dicom_gateway.values import MOST_VALUES, UNREADABLE, one_uid, text, texts

REQUIRED = (
    "PatientName",
    "PatientID",
    "PatientBirthDate",
    "PatientSex",
    "StudyDate",
    "StudyTime",
    "AccessionNumber",
    "ReferringPhysicianName",
    "StudyID",
)
"""Type 2 in the modules Patient (PS3.3 C.7.1.1) and General Study (C.7.2.1)."""
OPTIONAL = (
    "IssuerOfPatientID",
    "TypeOfPatientID",
    "PatientBirthTime",
    "OtherPatientNames",
    "QualityControlSubject",
    "PatientIdentityRemoved",
    "DeidentificationMethod",
    "StudyDescription",
    "PatientAge",
    "TimezoneOffsetFromUTC",
)
"""Type 3 or 1C there, in Patient Study (C.7.2.2) and SOP Common (C.12.1)."""
ISSUER = ("LocalNamespaceEntityID", "UniversalEntityID", "UniversalEntityIDType")
"""HL7v2 Hierarchic Designator Macro (PS3.3 10.14)."""
CODE = ("CodeValue", "LongCodeValue", "CodingSchemeDesignator", "CodingSchemeVersion", "CodeMeaning")
"""Code Sequence Macro (PS3.3 8.8)."""
REQUEST = (
    "AccessionNumber",
    "PlacerOrderNumberImagingServiceRequest",
    "FillerOrderNumberImagingServiceRequest",
    "RequestedProcedureID",
    "RequestedProcedureDescription",
)
"""Text attributes of an item of Referenced Request Sequence (PS3.3 C.17.2), all type 2."""


def copy_patient_and_study(film: Dataset, into: Dataset, *, otherwise: str) -> None:
    """Put the patient's and the study's attributes into an object of the film's study.

    Args:
        otherwise: digest of the film, of which a study UID is derived where the film has none.
    """
    for keyword in REQUIRED:
        _put(into, keyword, texts(film, keyword))
    for keyword in OPTIONAL:
        if any(texts(film, keyword)):
            _put(into, keyword, texts(film, keyword))
    for keyword, within in (
        ("IssuerOfAccessionNumberSequence", ISSUER),
        ("ProcedureCodeSequence", CODE),
        ("DeidentificationMethodCodeSequence", CODE),
    ):
        if items := _items(film, keyword, within):
            setattr(into, keyword, Sequence(items))
    _put(into, "StudyInstanceUID", [study_uid(film, otherwise)])


def requests(film: Dataset, study_instance_uid: str) -> list[Dataset]:
    """Items of Referenced Request Sequence: the requests that the film names, each with accession and order numbers.

    [] where it names none.
    """
    found = []
    for asked in _sequence(film, "RequestAttributesSequence") or [Dataset()]:
        values = {keyword: text(asked, keyword) or text(film, keyword) for keyword in REQUEST}
        if not any(values.values()):
            continue
        item = Dataset()
        for keyword, value in values.items():
            _put(item, keyword, [value])
        _put(item, "StudyInstanceUID", [one_uid(asked, "StudyInstanceUID") or study_instance_uid])
        item.ReferencedStudySequence = Sequence()
        item.RequestedProcedureCodeSequence = Sequence(_items(asked, "RequestedProcedureCodeSequence", CODE))
        issuers = [_items(one, "IssuerOfAccessionNumberSequence", ISSUER) for one in (asked, film)]
        if any(issuers):
            item.IssuerOfAccessionNumberSequence = Sequence(issuers[0] or issuers[1])
        found.append(item)
    return found


def study_uid(film: Dataset, otherwise: str) -> str:
    return one_uid(film, "StudyInstanceUID") or derived_uid("study", otherwise)


def series_uid(film: Dataset, otherwise: str) -> str:
    return one_uid(film, "SeriesInstanceUID") or derived_uid("series", otherwise)


def _items(dataset: Dataset, keyword: str, within: tuple[str, ...]) -> list[Dataset]:
    """The items of a sequence, with these text attributes of each; an item that has none of them is left out."""
    found = []
    for item in _sequence(dataset, keyword):
        copy = Dataset()
        for name in within:
            if any(texts(item, name)):
                _put(copy, name, texts(item, name))
        if len(copy):
            found.append(copy)
    return found


def _sequence(dataset: Dataset, keyword: str) -> list[Dataset]:
    try:
        items = list(dataset.get(keyword) or ())[:MOST_VALUES]
    except UNREADABLE:
        return []
    return [item for item in items if isinstance(item, Dataset)]


def _put(into: Dataset, keyword: str, values: list[str]) -> None:
    """Set an element as it is written, in the VR of the dictionary, whatever the film gave it."""
    tag = tag_for_keyword(keyword)
    assert tag is not None
    vr, value = dictionary_VR(tag), "\\".join(values)
    if vr not in CUSTOMIZABLE_CHARSET_VR:  # a date, a code or a UID is of ASCII alone
        value = value.encode("ascii", "replace").decode("ascii")
    into.add(DataElement(tag, vr, value, validation_mode=config.IGNORE))
