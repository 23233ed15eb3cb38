"""What a PACS has: asked by C-FIND, whatever its manners are."""

import ssl
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import date, datetime
from pathlib import Path
from typing import Any

import pytest
from pydicom.dataset import Dataset

from dicom_gateway import pacs_contents
from dicom_gateway.asking import asking
from dicom_gateway.contexts import STUDY_ROOT_FIND, VERIFICATION
from dicom_gateway.encode import derived_uid
from dicom_gateway.errors import QueryFailed, TooManyMatches
from dicom_gateway.pacs_contents import PacsContents
from dicom_gateway.study_window import StudyWindow
from dicom_gateway.tls import ClientOptions, client_context
from tests.asked_pacs import AskedPacs, Manners, archived, asked_pacs
from tests.certificates import Authority
from tests.services import free_port

DAY = StudyWindow(first=date(2026, 11, 27), last=date(2026, 11, 27))


@pytest.fixture(scope="module")
def archive() -> Iterator[AskedPacs]:
    """One for all tests that change its manners alone: pynetdicom takes half a second to stop."""
    with asked_pacs(free_port()) as found:
        yield found


@contextmanager
def behaving(archive: AskedPacs, films: Sequence[Dataset], **manners: Any) -> Iterator[AskedPacs]:
    archive.films, archive.manners, archive.cancelled = list(films), Manners(**manners), 0
    archive.asked.clear()
    yield archive


@contextmanager
def contents(
    pacs: AskedPacs, *, seconds: float = 10, within: float = 60, tls: ssl.SSLContext | None = None
) -> Iterator[PacsContents]:
    classes = (VERIFICATION, STUDY_ROOT_FIND)
    with asking("127.0.0.1", pacs.port, classes, called_ae=pacs.title, calling_ae="XRAYQ", tls=tls) as peer:
        yield PacsContents(peer, seconds=seconds, until=time.monotonic() + within)


def studies_of(pacs: AskedPacs, *modalities: str, window: StudyWindow = DAY) -> list[str]:
    with contents(pacs) as found:
        return [one.study_instance_uid for one in found.studies(window, modalities)]


def uids(*names: str) -> list[str]:
    return [derived_uid("study", name) for name in names]


@pytest.mark.parametrize("implicit_only", [False, True])
def test_studies_series_and_images(implicit_only: bool) -> None:
    films = [archived("a", at="080000.5"), archived("b", at="07:30", modality="CR"), archived("ct", modality="CT")]
    films += [
        archived("old", day="20261126"),
        archived("a2", StudyInstanceUID=derived_uid("study", "a"), modality="SR"),
    ]
    with asked_pacs(free_port(), films, implicit_only=implicit_only) as pacs, contents(pacs) as found:
        first, second = found.studies(DAY, ("DX", "CR"))
        assert (first.study_instance_uid, second.study_instance_uid) == (*uids("b", "a"),)
        assert (first.at, second.at) == (datetime(2026, 11, 27, 7, 30), datetime(2026, 11, 27, 8))
        assert second.modalities == {"DX", "SR"}
        assert "Aa" not in repr(second), "an Accession Number is not shown by chance"
        series = found.series(second.study_instance_uid)
        assert [(one.modality, one.body_part) for one in series] == [("DX", "CHEST"), ("SR", "CHEST")]
        (image,) = found.images(second.study_instance_uid, series[0].series_instance_uid)
        assert (image.sop_instance_uid, image.sop_class_uid) == (derived_uid("a"), films[0].SOPClassUID)
    words = {element.keyword for asked in pacs.asked for element in asked}
    assert not {word for word in words if "Patient" in word}, "nothing of a patient is asked for"


@pytest.mark.parametrize(
    "manners",
    [
        {"unmatched": frozenset({"ModalitiesInStudy"})},
        {"refused": frozenset({"ModalitiesInStudy"})},
        {"unmatched": frozenset({"StudyDate", "StudyTime"})},
        {"says_nothing": frozenset({"ModalitiesInStudy", "StudyTime", "AccessionNumber"})},
    ],
    ids=["ignores modalities", "refuses modalities", "ignores dates", "says little"],
)
def test_a_study_is_found_whatever_the_pacs_heeds(archive: AskedPacs, manners: dict[str, Any]) -> None:
    with behaving(archive, [archived("a"), archived("b", modality="CR")], **manners) as pacs:
        assert studies_of(pacs, "DX", "CR") == sorted(uids("a", "b"))


def test_a_study_without_the_modality_is_left_out_where_the_pacs_sends_all(archive: AskedPacs) -> None:
    with behaving(archive, [archived("a"), archived("ct", modality="CT")]) as pacs:
        pacs.manners.extra = Dataset()
        pacs.manners.extra.StudyInstanceUID, pacs.manners.extra.ModalitiesInStudy = "1.2.3", "MR"
        assert studies_of(pacs, "DX") == uids("a")


@pytest.mark.parametrize("status", [0xA700, 0xFE00, 0x0000], ids=["says so", "as Orthanc", "without a word"])
def test_a_pacs_that_cuts_its_list_is_asked_for_less(
    archive: AskedPacs, monkeypatch: pytest.MonkeyPatch, status: int
) -> None:
    """It has twelve films of half an hour, and sends five."""
    monkeypatch.setattr(pacs_contents, "MANY", 5)
    names = [str(number) for number in range(12)]
    films = [archived(name, at=f"0{8 + int(name) % 2}{int(name) * 2:02}30") for name in names]
    with behaving(archive, films, most=5, limit_status=status) as pacs:
        days = StudyWindow(first=date(2026, 11, 26), last=date(2026, 11, 27))
        assert sorted(studies_of(pacs, "DX", window=days)) == sorted(uids(*names))


def test_more_matches_in_a_minute_than_the_pacs_sends(archive: AskedPacs) -> None:
    with behaving(archive, [archived(str(number)) for number in range(5)], most=3) as pacs:
        with contents(pacs) as found, pytest.raises(TooManyMatches):
            found.studies(DAY, ("DX",))
        assert len(pacs.asked) < 20, "the first minute that is not answered ends it"


def test_a_pacs_that_never_ends_is_told_to_stop(archive: AskedPacs, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pacs_contents, "MOST_SERIES", 10)
    with behaving(archive, [archived("a")], endless=True) as pacs, contents(pacs) as found:
        with pytest.raises(TooManyMatches):
            found.series(derived_uid("study", "a"))
        assert pacs.cancelled == 1
        pacs.manners.endless = False
        assert len(found.series(derived_uid("study", "a"))) == 1, "the association goes on"


def test_a_pacs_that_drips_or_goes_silent_ends_in_time() -> None:
    for seconds, within in ((0.3, 60.0), (60.0, 0.3)):
        with asked_pacs(free_port(), [archived("a"), archived("b")]) as pacs:
            pacs.manners.drips = threading.Event()
            begun = time.monotonic()
            with contents(pacs, seconds=seconds, within=within) as found:
                with pytest.raises(QueryFailed, match="no_answer"):
                    found.studies(DAY)
                with pytest.raises(QueryFailed, match="no_answer"):
                    found.studies(DAY)
            assert time.monotonic() - begun < 10


def test_what_a_pacs_answers_instead(archive: AskedPacs) -> None:
    with behaving(archive, [archived("a")], status=0xC001) as pacs, contents(pacs) as found:
        with pytest.raises(QueryFailed, match="query_0xC001"):
            found.studies(DAY)
        pacs.manners.status = 0
        assert len(found.studies(DAY)) == 1, "the association goes on"
    with (
        asked_pacs(free_port(), finds=False) as pacs,
        pytest.raises(QueryFailed, match="not_accepted"),
        contents(pacs),
    ):
        pass


def test_over_tls(tmp_path: Path) -> None:
    authority = Authority(folder=tmp_path)
    own = authority.issue("archive")
    server = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    server.load_cert_chain(own.certificate, own.key)
    client = client_context(ClientOptions(authorities=authority.file))
    with asked_pacs(free_port(), [archived("a")], tls=server) as pacs, contents(pacs, tls=client) as found:
        assert len(found.studies(DAY)) == 1


def test_answers_that_are_none_are_counted_and_not_believed(archive: AskedPacs) -> None:
    """A UID with a path in it, one of another study, and none at all."""
    film = archived("a")
    with behaving(archive, [film]) as pacs, contents(pacs) as found:
        for level, wrong in (("study", {"StudyInstanceUID": "../../etc"}), ("study", {"StudyDate": "20261127"})):
            pacs.manners.extra = Dataset()
            for keyword, value in wrong.items():
                pacs.manners.extra.add_new(keyword, "LO", value)
            assert [one.study_instance_uid for one in found.studies(DAY)] == uids("a"), level
        assert found.unreadable == 2
        pacs.manners.extra = archived("other")
        assert len(found.series(film.StudyInstanceUID)) == 1
        assert len(found.images(film.StudyInstanceUID, film.SeriesInstanceUID)) == 1
        assert found.unreadable == 2, "of another study is no fault, and not taken"
