"""Films fetched from a PACS by C-MOVE and C-GET, whatever its manners are."""

import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from pydicom.dataset import Dataset

from dicom_gateway import retrieving
from dicom_gateway.asking import asking
from dicom_gateway.contexts import STUDY_ROOT_GET, STUDY_ROOT_MOVE
from dicom_gateway.errors import NoSpace, RetrieveFailed
from dicom_gateway.options import Received
from dicom_gateway.other_objects import OtherObject
from dicom_gateway.retrieve_answer import Counts, retrieve_fault_in_words
from dicom_gateway.retrieving import Retrieval, Wanted
from dicom_gateway.spool import INCOMING, Spool
from dicom_gateway.storing import Storing
from tests.phantoms import chest_film, chest_pixels
from tests.protocol.raw import dataset_bytes
from tests.protocol.raw_pacs import Talk, raw_pacs
from tests.services import wait_until

SMALL = chest_pixels(rows=64, columns=64)
PENDING = 0xFF00


def wanted(*films: Dataset) -> Wanted:
    """Films of one series."""
    return Wanted(
        study_instance_uid=films[0].StudyInstanceUID,
        series_instance_uid=films[0].SeriesInstanceUID,
        sop_instance_uids=tuple(film.SOPInstanceUID for film in films),
    )


def series(number: int) -> list[Dataset]:
    first = chest_film("series", pixels=SMALL)
    above = {"StudyInstanceUID": first.StudyInstanceUID, "SeriesInstanceUID": first.SeriesInstanceUID}
    return [chest_film(f"film {place}", pixels=SMALL, **above) for place in range(number)]


@contextmanager
def moving(port: int, *, called: str = "PACS", seconds: float = 10, **options: Any) -> Iterator[Retrieval]:
    with asking("127.0.0.1", port, (STUDY_ROOT_MOVE,), called_ae=called, calling_ae="XRAYQ") as peer:
        yield Retrieval(peer, seconds=seconds, **options)


@contextmanager
def getting(
    port: int,
    spool_root: Path,
    accept: Callable[[Received | OtherObject], None],
    *,
    seconds: float = 10,
    **options: Any,
) -> Iterator[Retrieval]:
    storing = Storing(spool=Spool(spool_root, reserve_bytes=0), accept=accept)
    with asking("127.0.0.1", port, (STUDY_ROOT_GET,), called_ae="PACS", calling_ae="XRAYQ", storing=storing) as peer:
        yield Retrieval(peer, seconds=seconds, **options)
    for path in spool_root.glob("*/*.dcm"):
        path.unlink()


@pytest.mark.parametrize(
    ("status", "counts", "fault"),
    [
        (0x0000, {}, ""),
        (0x0000, {"completed": 1, "failed": 0, "warning": 0}, ""),
        (0x0000, {"completed": 0, "warning": 1}, ""),
        (0x0000, {"completed": 0, "failed": 0, "warning": 0}, "none_sent"),
        (0x0000, {"completed": 9}, "sent_more"),
        (0xB000, {"completed": 0, "failed": 1}, "some_failed"),
        (0xFE00, {"remaining": 1}, "cancelled"),
        (0xA701, {}, "not_counted"),
        (0xA702, {}, "out_of_resources"),
        (0xA801, {}, "destination_unknown"),
        (0xA900, {}, "identifier_refused"),
        (0xC123, {}, "unable_to_process"),
        (0x0122, {}, "not_served"),
        (0x0124, {}, "not_authorised"),
        (0x0211, {}, "retrieve_0x0211"),
    ],
)
def test_how_a_pacs_ends(status: int, counts: dict[str, int], fault: str) -> None:
    (film,) = series(1)

    def script(talk: Talk) -> None:
        asked = talk.question()
        assert (asked.QueryRetrieveLevel, asked.SOPInstanceUID) == ("IMAGE", film.SOPInstanceUID)
        assert (asked.StudyInstanceUID, asked.SeriesInstanceUID) == (film.StudyInstanceUID, film.SeriesInstanceUID)
        assert (talk.command.MoveDestination, talk.command.Priority) == ("XRAYQ", 2)
        talk.answer(status, named=[film.SOPInstanceUID, "2.25.99"] if status == 0xB000 else None, **counts)

    with raw_pacs(script) as pacs, moving(pacs.port) as retrieval:
        answer = retrieval.move(wanted(film), to_ae="XRAYQ")
    assert (answer.status, answer.fault, answer.counts) == (status, fault, Counts(**counts))
    assert answer.failed_uids == ({film.SOPInstanceUID} if status == 0xB000 else set()), (
        "what was not wanted is left out"
    )
    words = retrieve_fault_in_words(fault)
    assert (words != "") == (fault != "")
    assert film.SOPInstanceUID not in words


def test_an_answer_that_comes_twice_is_not_the_next_ones() -> None:
    """Numbers come with pending answers, and are not in the last one."""
    films = series(2)

    def script(talk: Talk) -> None:
        talk.question()
        talk.answer(PENDING, remaining=1, completed=0)
        talk.answer(PENDING, remaining=0, completed=1, failed=0, warning=0)
        talk.answer(0x0000)
        talk.answer(0x0000)
        first = int(talk.command.MessageID)
        talk.question()
        talk.answer(PENDING, message_id=first, completed=7)
        talk.answer(0xA702)

    with raw_pacs(script) as pacs, moving(pacs.port) as retrieval:
        answer = retrieval.move(wanted(films[0]), to_ae="XRAYQ")
        assert (answer.status, answer.counts) == (0, Counts(completed=1, failed=0, warning=0))
        answer = retrieval.move(wanted(films[1]), to_ae="XRAYQ")
        assert (answer.status, answer.counts) == (0xA702, Counts())


@pytest.mark.parametrize(
    ("status", "counts"),
    [(0xA900, {}), (0xC000, {}), (0x0000, {"completed": 0}), (0x0000, {"completed": 1})],
    ids=["refused", "unable", "nothing found", "the first alone"],
)
def test_a_pacs_that_takes_no_list_is_asked_one_by_one(status: int, counts: dict[str, int]) -> None:
    films, asked = series(3), list[Any]()

    def script(talk: Talk) -> None:
        for _ in range(7):
            question = talk.question()
            asked.append(question.SOPInstanceUID)
            if question["SOPInstanceUID"].VM > 1:
                talk.answer(status, **counts)
            elif question.SOPInstanceUID == films[1].SOPInstanceUID:
                talk.answer(0xB000, completed=0, failed=1)
            else:
                talk.answer(0x0000, completed=1)

    uids = [film.SOPInstanceUID for film in films]
    with raw_pacs(script) as pacs, moving(pacs.port) as retrieval:
        for _ in range(2):
            answer = retrieval.move(wanted(*films), to_ae="XRAYQ")
            assert (answer.fault, answer.failed_uids) == ("some_failed", {uids[1]})
            assert answer.counts == Counts(remaining=0, completed=2, failed=1, warning=0)
    assert asked == [uids, *uids, *uids], "the list once"


def test_whoever_stops_between_two_of_them_is_told_so() -> None:
    films, stop = series(3), threading.Event()

    def script(talk: Talk) -> None:
        talk.question()
        talk.answer(0xA900)
        talk.question()
        stop.set()
        talk.answer(0x0000, completed=1)

    with raw_pacs(script) as pacs, moving(pacs.port, stop=stop.is_set) as retrieval:
        answer = retrieval.move(wanted(*films), to_ae="XRAYQ")
    assert (answer.fault, answer.stopped, answer.counts.remaining) == ("cancelled", True, 2)


def test_a_list_is_not_why_a_destination_is_not_known() -> None:
    """Orthanc says 0xC000 of one."""
    asked = 0

    def script(talk: Talk) -> None:
        nonlocal asked
        for asked in (1, 2):  # noqa: B007 - counts
            talk.question()
            talk.answer(0xC000)

    with raw_pacs(script) as pacs, moving(pacs.port) as retrieval:
        assert retrieval.move(wanted(*series(3)), to_ae="XRAYQ").fault == "unable_to_process"
    assert asked == 2


@pytest.mark.parametrize("pending", [False, True])
def test_a_pacs_that_hangs_is_told_to_stop(pending: bool) -> None:
    def script(talk: Talk) -> None:
        talk.question()
        if pending:
            talk.answer(PENDING, remaining=1, completed=0, failed=0, warning=0)
        assert talk.is_cancelled()

    with raw_pacs(script) as pacs, moving(pacs.port, seconds=0.3) as retrieval:
        answer = retrieval.move(wanted(*series(1)), to_ae="XRAYQ")
        assert (answer.status, answer.fault, answer.counts.remaining) == (None, "no_answer", 1 if pending else None)
        with pytest.raises(RetrieveFailed, match="no_answer"):
            retrieval.move(wanted(*series(1)), to_ae="XRAYQ")


def test_a_pacs_that_drips_its_answer_ends_at_the_deadline(monkeypatch: pytest.MonkeyPatch) -> None:
    """Pending answers without end, and none after the C-CANCEL but more of them."""
    monkeypatch.setattr(retrieving, "CANCEL_SECONDS", 0.3)

    def script(talk: Talk) -> None:
        talk.question()
        while True:
            talk.answer(PENDING, remaining=1, completed=0)

    begun = time.monotonic()
    with raw_pacs(script) as pacs, moving(pacs.port, until=begun + 0.5) as retrieval:
        answer = retrieval.move(wanted(*series(1)), to_ae="XRAYQ")
    assert (answer.fault, answer.stopped) == ("no_answer", True)
    assert 0.8 <= time.monotonic() - begun < 8


def test_whoever_stops_tells_the_pacs_and_hears_how_far_it_was() -> None:
    def script(talk: Talk) -> None:
        talk.question()
        talk.answer(PENDING, remaining=2, completed=1, failed=0, warning=0)
        stop.set()
        assert talk.is_cancelled()
        talk.answer(0xFE00, remaining=1, completed=2, failed=0, warning=0)
        talk.question()
        talk.answer(0x0000, completed=1)

    stop = threading.Event()
    with raw_pacs(script) as pacs, moving(pacs.port, stop=stop.is_set) as retrieval:
        answer = retrieval.move(wanted(*series(3)), to_ae="XRAYQ")
        assert (answer.fault, answer.stopped) == ("cancelled", True)
        assert answer.counts == Counts(remaining=1, completed=2, failed=0, warning=0)
        stop.clear()
        assert retrieval.move(wanted(*series(1)), to_ae="XRAYQ").fault == "", "the association goes on"


def test_a_pacs_that_sends_the_whole_series_is_told_to_stop() -> None:
    def script(talk: Talk) -> None:
        talk.question()
        talk.answer(PENDING, remaining=98, completed=1)
        talk.answer(PENDING, remaining=97, completed=2)
        assert talk.is_cancelled()
        talk.answer(0xFE00, completed=3, remaining=96)

    with raw_pacs(script) as pacs, moving(pacs.port) as retrieval:
        answer = retrieval.move(wanted(*series(1)), to_ae="XRAYQ")
    assert (answer.fault, answer.stopped, answer.counts.completed) == ("sent_more", True, 3)


def test_what_a_pacs_does_not_serve_is_not_asked(spool_root: Path) -> None:
    """No C-MOVE; and no role of SCP for us in a C-GET."""
    film = wanted(*series(1))
    with (
        raw_pacs(lambda _: None, scp=False) as pacs,
        getting(pacs.port, spool_root, lambda _: None) as retrieval,
    ):
        with pytest.raises(RetrieveFailed, match="not_accepted"):
            retrieval.move(film, to_ae="XRAYQ")
        with pytest.raises(RetrieveFailed, match="no_films"):
            retrieval.get(film)


def test_films_come_between_the_answers_of_a_get(spool_root: Path) -> None:
    """Each as one that is pushed: refused with the same statuses, kept in the spool, accepted before it is answered.
    One that was not asked for is taken, and does not count."""
    films = series(4)
    statuses: list[int] = []
    accepted: list[Received | OtherObject] = []

    def script(talk: Talk) -> None:
        assert talk.question().SOPInstanceUID == [film.SOPInstanceUID for film in films[:3]]
        for place, film in enumerate(films):
            talk.answer(PENDING, remaining=3 - place, completed=place)
            talk.store(dataset_bytes(film), film.SOPInstanceUID if place else "2.25.4711")
            statuses.append(talk.stored())
        talk.store(dataset_bytes(films[0]), films[0].SOPInstanceUID, sop_class=STUDY_ROOT_GET)
        statuses.append(talk.stored())
        talk.answer(0xB000, named=[films[0].SOPInstanceUID], completed=2, failed=1)

    def accept(arrived: Received | OtherObject) -> None:
        if isinstance(arrived, Received) and arrived.header.sop_instance_uid == films[1].SOPInstanceUID:
            raise NoSpace
        accepted.append(arrived)

    with raw_pacs(script) as pacs, getting(pacs.port, spool_root, accept) as retrieval:
        answer = retrieval.get(wanted(*films[:3]))
    assert statuses == [0xA901, 0xA700, 0, 0, 0xA900], "the last on the context of the question"
    assert answer.here == {films[2].SOPInstanceUID}
    assert [one.header.sop_instance_uid for one in accepted if isinstance(one, Received)] == [
        film.SOPInstanceUID for film in films[2:]
    ]
    (sender,) = {one.sent_by for one in accepted}
    assert sender is not None
    assert (sender.calling_ae, sender.address) == ("PACS", "127.0.0.1")
    assert {(one.calling_ae, one.called_ae) for one in accepted} == {("PACS", "XRAYQ")}


def test_a_film_that_takes_long_is_no_silence(spool_root: Path) -> None:
    (film,) = series(1)
    data = dataset_bytes(film)

    def script(talk: Talk) -> None:
        talk.question()
        talk.begin(film.SOPInstanceUID)
        for part in range(4):
            begun = time.monotonic()
            wait_until(lambda: time.monotonic() > begun + 0.25, 5)  # noqa: B023 - called at once
            talk.go_on(data[part * 2000 : (part + 1) * 2000 if part < 3 else None], last=part == 3)
        assert talk.stored() == 0
        talk.answer(0)

    with raw_pacs(script) as pacs, getting(pacs.port, spool_root, lambda _: None, seconds=0.6) as retrieval:
        assert retrieval.get(wanted(film)).here == {film.SOPInstanceUID}


def test_a_film_that_is_on_its_way_when_we_stop_comes_to_its_end(spool_root: Path) -> None:
    films, stop = series(2), threading.Event()
    data = dataset_bytes(films[0])

    def script(talk: Talk) -> None:
        talk.question()
        talk.begin(films[0].SOPInstanceUID)
        talk.go_on(data[:4000], last=False)
        stop.set()
        assert talk.is_cancelled()
        talk.go_on(data[4000:], last=True)
        assert talk.stored() == 0
        talk.answer(0xFE00, remaining=1, completed=1)

    accepted: list[Any] = []
    with raw_pacs(script) as pacs, getting(pacs.port, spool_root, accepted.append, stop=stop.is_set) as retrieval:
        answer = retrieval.get(wanted(*films))
    assert (answer.fault, answer.stopped, answer.here) == ("cancelled", True, {films[0].SOPInstanceUID})
    assert len(accepted) == 1


PEAK = """
import re, sys
from pathlib import Path
from dicom_gateway.spool import Spool
from tests.protocol.test_retrieving import getting, wanted, series

def peak():
    return int(re.search(r"VmHWM:\\s+(\\d+)", Path("/proc/self/status").read_text())[1]) >> 10

(film,) = series(1)
with getting(int(sys.argv[1]), Path(sys.argv[2]), lambda _: None, seconds=60) as retrieval:
    before = peak()
    assert retrieval.get(wanted(film)).here == {film.SOPInstanceUID}
print(before, peak())
"""


@pytest.mark.slow
def test_a_film_of_300_mb_is_never_in_memory(spool_root: Path) -> None:
    (film,) = series(1)
    film.PixelData = bytes(300 << 20)
    data = dataset_bytes(film)

    def script(talk: Talk) -> None:
        talk.question()
        talk.store(data, film.SOPInstanceUID)
        assert talk.stored() == 0
        talk.answer(0)

    with raw_pacs(script) as pacs:
        child = subprocess.run(
            [sys.executable, "-c", PEAK, str(pacs.port), str(spool_root)], capture_output=True, text=True, timeout=120
        )
    assert child.returncode == 0, child.stderr
    before, peak = map(int, child.stdout.split())
    print(f"MB before {before}, at most {peak}")
    assert peak - before < 16


def test_a_pacs_that_dies_in_the_midst_of_a_film_leaves_nothing(spool_root: Path) -> None:
    films = series(2)

    def script(talk: Talk) -> None:
        talk.question()
        talk.store(dataset_bytes(films[0]), films[0].SOPInstanceUID)
        assert talk.stored() == 0
        talk.store(dataset_bytes(films[1])[:5000], films[1].SOPInstanceUID, whole=False)
        wait_until(lambda: list(spool_root.glob(f"{INCOMING}/*.part")), 10, "half a film")
        talk.socket.close()

    accepted: list[Any] = []
    with raw_pacs(script) as pacs, getting(pacs.port, spool_root, accepted.append) as retrieval:
        answer = retrieval.get(wanted(*films))
    assert (answer.fault, answer.here) == ("no_answer", {films[0].SOPInstanceUID})
    assert len(accepted) == 1
    assert not list(spool_root.glob(f"{INCOMING}/*"))
