"""Results of films, as they become objects for a PACS."""

from dataclasses import replace
from datetime import UTC, datetime
from io import BytesIO
from typing import Any

from pydicom import dcmread, dcmwrite, uid
from pydicom.dataset import Dataset

from dicom_gateway.result import Algorithm, FilmResult, FindingResult, NotAnalysed, SentBefore
from tests.phantoms import chest_film

ALGORITHM = Algorithm(
    name="xrayq",
    version="2026.11",
    bundle_digest="ab" * 32,
    software_version="0.1.0",
    engine="onnxruntime-cpu fp32",
)
FINDINGS = (
    FindingResult(name="normal", probability=0.1226785),
    FindingResult(
        name="pneumonia",
        probability=0.8732154,
        interval=(0.801, 0.924),
        operating_point=0.5,
        chosen_for="specificity at least 0.90",
        flag=True,
    ),
    FindingResult(name="covid19", probability=0.0041061, operating_point=0.3),
)
NOT_PA = NotAnalysed(code="not_pa", meaning="not a PA view")
BEFORE = SentBefore(
    study_instance_uid="1.2.3",
    series_instance_uid="1.2.3.4",
    sop_class_uid=str(uid.Comprehensive3DSRStorage),
    sop_instance_uid="1.2.3.4.5",
)


def film_without_pixels(name: str = "reported", **attributes: Any) -> Dataset:
    film = chest_film(name, **attributes)
    del film.PixelData
    return film


def result_of(film: Dataset | None = None, **changes: Any) -> FilmResult:
    """A film with one flag up, unless changed."""
    result = FilmResult(
        film=film_without_pixels() if film is None else film,
        film_digest="cd" * 32,
        at=datetime(2026, 11, 28, 13, 14, 15, tzinfo=UTC),
        algorithm=ALGORITHM,
        findings=FINDINGS,
        prediction_set=("pneumonia",),
    )
    return replace(result, **changes)


def not_analysed(film: Dataset | None = None) -> FilmResult:
    return result_of(film, findings=(), prediction_set=None, not_analysed=NOT_PA)


def encoded(report: Dataset) -> bytes:
    """A Part 10 file."""
    file = BytesIO()
    dcmwrite(file, report, enforce_file_format=True)
    return file.getvalue()


def read_back(report: Dataset) -> Dataset:
    return dcmread(BytesIO(encoded(report)))
