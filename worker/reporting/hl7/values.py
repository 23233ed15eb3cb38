"""What the placeholders of a template stand for, each as it stands in a field: escaped, or with its components."""

import hashlib
import re
from datetime import datetime

from pydicom.dataset import Dataset
from pydicom.sr.coding import Code

from dicom_gateway import report_codes
from dicom_gateway.copied import requests, study_uid
from dicom_gateway.report_words import NOTICE, of_finding, of_note, summary
from dicom_gateway.result import FilmResult, FindingResult, Found, NotAnalysed
from dicom_gateway.time_zone import in_zone_of
from dicom_gateway.values import UNREADABLE, one_uid, text
from worker.reporting.hl7.er7 import coded, escaped, person_name, provider, timestamp

DATE, TIME = re.compile(r"(\d{4})(\d{2})(\d{2})"), re.compile(r"(\d{2})(?:(\d{2})(?:(\d{2})(?:\.\d{1,6})?)?)?")
"""DA and TM (PS3.5 6.2): of a time, minutes and seconds may be missing."""
WHEN_TAKEN = ("Acquisition", "Content", "Series", "Study")
"""Attributes ...Date and ...Time of a film, the first that has both."""
DIGITS = 4
"""Of a percentage, behind the point: as in the structured report."""

OF_MESSAGE = (
    "patient_id",
    "patient_id_issuer",
    "patient_name",
    "birth_date",
    "sex",
    "referring_physician",
    "accession_number",
    "placer_order_number",
    "filler_order_number",
    "requested_procedure_id",
    "requested_procedure",
    "study_description",
    "modality",
    "station_name",
    "institution",
    "study_uid",
    "sop_uid",
    "film",
    "film_time",
    "result_time",
    "priority",
    "flags",
    "summary",
    "notice",
    "algorithm",
    "algorithm_version",
    "bundle_digest",
    "device_uid",
    "software_version",
    "site",
)
"""Known in every field."""
OF_OBSERVATION: dict[str, tuple[str, ...]] = {
    "study": (),
    "film": (),
    "summary": (),
    "not_analysed": ("reason_code", "reason"),
    "finding": ("probability_code", "finding_code", "percent", "range", "abnormal", "sentence"),
    "prediction_set": ("certainty", "prediction_set", "set_in_words"),
    "note": ("reason_code", "reason"),
}
"""The observations, and what is known in the fields of each besides."""


def of_message(result: FilmResult, *, site: str, priority: str) -> dict[str, str]:
    """Values of `OF_MESSAGE`; "" for what the film does not say."""
    film, algorithm = result.film, result.algorithm
    at = in_zone_of(film, result.at)
    study = study_uid(film, result.film_digest)
    request = next(iter(requests(film, study)), Dataset())
    sex = text(film, "PatientSex").upper()
    return {
        "patient_id": escaped(text(film, "PatientID")),
        "patient_id_issuer": _issuer(film),
        "patient_name": person_name(text(film, "PatientName")),
        "birth_date": _date(text(film, "PatientBirthDate")),
        "sex": sex if sex in ("M", "F", "O") else "",
        "referring_physician": provider(text(film, "ReferringPhysicianName")),
        "accession_number": escaped(text(request, "AccessionNumber")),
        "placer_order_number": escaped(text(request, "PlacerOrderNumberImagingServiceRequest")),
        "filler_order_number": escaped(text(request, "FillerOrderNumberImagingServiceRequest")),
        "requested_procedure_id": escaped(text(request, "RequestedProcedureID")),
        "requested_procedure": _procedure(film, request),
        "study_description": escaped(text(film, "StudyDescription")),
        "modality": escaped(text(film, "Modality")),
        "station_name": escaped(text(film, "StationName")),
        "institution": escaped(text(film, "InstitutionName")),
        "study_uid": study,
        "sop_uid": one_uid(film, "SOPInstanceUID"),
        "film": film_number(one_uid(film, "SOPInstanceUID")),
        "film_time": _taken(film),
        "result_time": timestamp(at),
        "priority": priority,
        "flags": escaped(", ".join(found.name for found in result.findings if found.flag)),
        "summary": escaped(summary(result, at)),
        "notice": escaped(NOTICE),
        "algorithm": escaped(algorithm.name),
        "algorithm_version": escaped(algorithm.version),
        "bundle_digest": algorithm.bundle_digest,
        "device_uid": algorithm.device_uid,
        "software_version": escaped(algorithm.software_version),
        "site": escaped(site),
    }


def of_observation(name: str, result: Found) -> list[dict[str, str]]:
    """Values of `OF_OBSERVATION` for each OBX of this name; [] where the result has none."""
    analysed = result.not_analysed is None
    if name in ("study", "film", "summary"):
        return [{}]
    if name == "finding":
        return [_finding(found) for found in result.findings if analysed]
    if name == "not_analysed":
        return [] if result.not_analysed is None else [_reason(result.not_analysed, result.not_analysed.words)]
    if name == "note":
        return [_reason(note, of_note(note)) for note in result.notes if analysed]
    return [_set(result.prediction_set, result)] if analysed and result.prediction_set is not None else []


def film_number(sop_instance_uid: str) -> str:
    """OBX-4 has 20 characters at most, which no UID fits; the same for every revision of a film."""
    return hashlib.sha256(sop_instance_uid.encode()).hexdigest()[:12]


def _finding(found: FindingResult) -> dict[str, str]:
    limit = found.operating_point
    return {
        "probability_code": coded(report_codes.probability_of(found.name)),
        "finding_code": coded(report_codes.finding(found.name)),
        "percent": _percent(found.probability),
        "range": "" if limit is None else f"<{_percent(limit)}",
        "abnormal": "A" if found.flag else "",  # not N: no flag is no finding's absence
        "sentence": escaped(of_finding(found)),
    }


def _reason(reason: NotAnalysed, words: str) -> dict[str, str]:
    return {"reason_code": coded(report_codes.own(reason.code, reason.meaning)), "reason": escaped(words)}


def _set(names: tuple[str, ...], result: Found) -> dict[str, str]:
    members = [report_codes.finding(name) for name in names] or [report_codes.EMPTY_SET]
    certainty = report_codes.UNSURE if result.unsure else report_codes.ONE_FINDING
    words = ", ".join(member.meaning for member in members)
    return {
        "certainty": coded(certainty),
        "prediction_set": "~".join(map(coded, members)),
        "set_in_words": escaped(f"{certainty.meaning}: {words}"),
    }


def _percent(share: float) -> str:
    return f"{round(100 * float(share), DIGITS):.{DIGITS}f}".rstrip("0").rstrip(".")


def _issuer(film: Dataset) -> str:
    """HD as subcomponents, for the fourth component of CX (PS3.3 C.2.2, Issuer of Patient ID Macro)."""
    more = _first(film, "IssuerOfPatientIDQualifiersSequence")
    parts = (text(film, "IssuerOfPatientID"), text(more, "UniversalEntityID"), text(more, "UniversalEntityIDType"))
    return "&".join(map(escaped, parts)).rstrip("&")


def _procedure(film: Dataset, request: Dataset) -> str:
    """CE of the procedure that was asked for, else that was done."""
    item = _first(request, "RequestedProcedureCodeSequence") or _first(film, "ProcedureCodeSequence")
    value = text(item, "CodeValue") or text(item, "LongCodeValue")
    return coded(Code(value, text(item, "CodingSchemeDesignator"), text(item, "CodeMeaning"))) if value else ""


def _first(dataset: Dataset, keyword: str) -> Dataset:
    try:
        items = list(dataset.get(keyword) or ())
    except UNREADABLE:
        items = []
    return next((item for item in items if isinstance(item, Dataset)), Dataset())


def _date(value: str) -> str:
    """A date of the calendar as YYYYMMDD, else ""."""
    match = DATE.fullmatch(value)
    try:
        return value if match and datetime(*map(int, match.groups())) else ""  # type: ignore[arg-type]
    except ValueError:
        return ""


def _taken(film: Dataset) -> str:
    """TS of when the film was taken; its distance to UTC where the film says it."""
    for which in WHEN_TAKEN:
        date, time = _date(text(film, f"{which}Date")), TIME.fullmatch(text(film, f"{which}Time"))
        if date and time:
            try:
                at = datetime.strptime(date + "".join(part or "00" for part in time.groups()), "%Y%m%d%H%M%S")
            except ValueError:
                continue
            return timestamp(at) + text(film, "TimezoneOffsetFromUTC") * _has_zone(film)
    return ""


def _has_zone(film: Dataset) -> bool:
    return re.fullmatch(r"[+-]\d{4}", text(film, "TimezoneOffsetFromUTC")) is not None
