"""A PACS that is asked what it has (C-FIND, Study Root), with the manners of real ones, good and bad."""

import ssl
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from pydicom.dataset import Dataset
from pydicom.uid import DigitalXRayImageStorageForPresentation, ExplicitVRLittleEndian, ImplicitVRLittleEndian
from pynetdicom import AE, evt
from pynetdicom.sop_class import StudyRootQueryRetrieveInformationModelFind  # type: ignore[attr-defined]

from dicom_gateway.encode import derived_uid

Answers = Iterator[tuple[int, Dataset | None]]
PENDING, SUCCESS = 0xFF00, 0x0000
UNIQUE = {"STUDY": "StudyInstanceUID", "SERIES": "SeriesInstanceUID", "IMAGE": "SOPInstanceUID"}


@dataclass(kw_only=True)
class Manners:
    """What it does not do as the standard says. Changed by a test at any time."""

    unmatched: frozenset[str] = frozenset()
    """Keys that it does not match, and returns nothing for: it answers 0xFF01."""
    refused: frozenset[str] = frozenset()
    """Keys with a value to which it answers 0xA900."""
    most: int = 10**9
    """Matches that it sends at most,"""
    limit_status: int = 0xA700
    """and with what it ends then."""
    status: int = SUCCESS
    """With what it ends else."""
    status_at: dict[str, int] = field(default_factory=dict)
    """The same, at a level."""
    needs_uids_above: bool = True
    """Without them: 0xA900."""
    endless: bool = False
    """It repeats its matches until it is told to stop."""
    drips: threading.Event | None = None
    """After the first match it waits for this."""
    says_nothing: frozenset[str] = frozenset()
    """Return keys that it leaves out."""
    extra: Dataset | None = None
    """An answer that nobody asked for, before the others."""


@dataclass(kw_only=True)
class AskedPacs:
    port: int
    title: str = "ARCHIVE"
    films: list[Dataset] = field(default_factory=list)
    manners: Manners = field(default_factory=Manners)
    asked: list[Dataset] = field(default_factory=list)
    """The identifier of each C-FIND."""
    cancelled: int = 0

    def find(self, event: evt.Event) -> Answers:
        asked, manners = event.identifier, self.manners
        self.asked.append(asked)
        level = str(asked.QueryRetrieveLevel)
        above = {"STUDY": (), "SERIES": ("StudyInstanceUID",), "IMAGE": ("StudyInstanceUID", "SeriesInstanceUID")}
        missing = [key for key in above[level] if not asked.get(key)]
        if (manners.needs_uids_above and missing) or any(asked.get(key) for key in manners.refused):
            yield 0xA900, None
            return
        if manners.extra:
            yield PENDING, manners.extra
        sent = 0
        while True:
            for match in self._matches(asked, level):
                if event.is_cancelled:
                    self.cancelled += 1
                    yield 0xFE00, None
                    return
                if sent == manners.most:
                    yield manners.limit_status, None
                    return
                sent += 1
                yield (0xFF01 if manners.unmatched else PENDING), match
                if manners.drips:
                    manners.drips.wait(60)
            if not (manners.endless and sent):
                break
        if status := manners.status_at.get(level, manners.status):
            yield status, None

    def _matches(self, asked: Dataset, level: str) -> Iterator[Dataset]:
        seen = set()
        for film in self.films:
            uid = film.get(UNIQUE[level])
            if uid in seen or not all(self._fits(film, element.keyword, str(element.value)) for element in asked):
                continue
            seen.add(uid)
            match = Dataset()
            match.QueryRetrieveLevel = level
            for element in asked:
                keyword = element.keyword
                hidden = keyword in self.manners.unmatched or keyword in self.manners.says_nothing
                if keyword == "ModalitiesInStudy" and not hidden:
                    of_study = {one.Modality for one in self.films if one.StudyInstanceUID == film.StudyInstanceUID}
                    match.ModalitiesInStudy = sorted(of_study)
                elif keyword in film and not hidden:
                    setattr(match, keyword, film.get(keyword))
            yield match

    def _fits(self, film: Dataset, keyword: str, wanted: str) -> bool:
        if wanted in ("", "None") or keyword == "QueryRetrieveLevel" or keyword in self.manners.unmatched:
            return True
        if keyword == "ModalitiesInStudy":
            return any(one.Modality == wanted for one in self.films if one.StudyInstanceUID == film.StudyInstanceUID)
        value = str(film.get(keyword) or "")
        if keyword in ("StudyDate", "StudyTime") and "-" in wanted:
            low, high = wanted.split("-")
            return (not low or value >= low) and (not high or value <= high)
        return value == wanted


def archived(name: str, *, day: str = "20261127", at: str = "101500", modality: str = "DX", **other: str) -> Dataset:
    """A film as a PACS knows it: of a study of its own, or of `StudyInstanceUID`."""
    film = Dataset()
    film.StudyInstanceUID, film.SeriesInstanceUID = derived_uid("study", name), derived_uid("series", name)
    film.SOPInstanceUID, film.SOPClassUID = derived_uid(name), DigitalXRayImageStorageForPresentation
    film.StudyDate, film.StudyTime, film.Modality = day, at, modality
    film.AccessionNumber, film.StudyDescription, film.BodyPartExamined = f"A{name}", "Thorax pa", "CHEST"
    film.PatientName, film.PatientID = "Nobody^Test", "P1"
    for keyword, value in other.items():
        setattr(film, keyword, value)
    return film


@contextmanager
def asked_pacs(
    port: int,
    films: Sequence[Dataset] = (),
    *,
    title: str = "ARCHIVE",
    tls: ssl.SSLContext | None = None,
    implicit_only: bool = False,
    finds: bool = True,
    **manners: Any,
) -> Iterator[AskedPacs]:
    """It listens until the block ends.

    Args:
        finds: whether it takes C-FIND; else only C-ECHO.
        manners: fields of Manners.
    """
    found = AskedPacs(port=port, title=title, films=list(films), manners=Manners(**manners))
    entity = AE(ae_title=title)
    entity.require_called_aet = True
    entity.add_supported_context("1.2.840.10008.1.1")
    if finds:
        syntaxes = [ImplicitVRLittleEndian] if implicit_only else [ExplicitVRLittleEndian, ImplicitVRLittleEndian]
        entity.add_supported_context(StudyRootQueryRetrieveInformationModelFind, syntaxes)
    server = entity.start_server(
        ("127.0.0.1", port), block=False, ssl_context=tls, evt_handlers=[(evt.EVT_C_FIND, found.find)]
    )
    assert server
    try:
        yield found
    finally:
        if found.manners.drips:
            found.manners.drips.set()
        server.shutdown()
