"""An observer is told what associations do, and can hurt none."""

import select
from collections.abc import Callable
from pathlib import Path

import pytest

from dicom_gateway.errors import PeerUnavailable, StoreUnavailable
from dicom_gateway.observer import NO_REQUEST, Observer
from dicom_gateway.options import Received
from dicom_gateway.scu import echo, send
from tests.phantoms import write_film
from tests.protocol.conftest import Node
from tests.protocol.raw import Peer, associate_rq, contexts, store_command, store_fragments
from tests.services import wait_until

Start = Callable[..., Node]


class Notes(Observer):
    def __init__(self) -> None:
        self.told: list[tuple[object, ...]] = []

    def accepted(self, calling_ae: str) -> None:
        self.told.append(("accepted", calling_ae))

    def rejected(self, calling_ae: str, reason: str, address: str = "") -> None:
        self.told.append(("rejected", calling_ae, reason))

    def context_refused(self, calling_ae: str, sop_class: str, reason: str) -> None:
        self.told.append(("context", calling_ae, sop_class, reason))

    def aborted(self, calling_ae: str) -> None:
        self.told.append(("aborted", calling_ae))

    def stored(self, calling_ae: str, status: int, size: int, seconds: float) -> None:
        assert 0 <= seconds < 10
        self.told.append(("stored", calling_ae, status, size))


class Broken(Observer):
    def accepted(self, calling_ae: str) -> None:
        raise RuntimeError("SECRET")

    def stored(self, calling_ae: str, status: int, size: int, seconds: float) -> None:
        raise RuntimeError("SECRET")

    rejected = context_refused = aborted = stored  # type: ignore[assignment]


class Answered(Observer):
    """What the peer could read when the observer was told."""

    def __init__(self) -> None:
        self.peer: Peer | None = None
        self.already: dict[str, bool] = {}

    def accepted(self, calling_ae: str) -> None:
        self._look("accepted")

    def context_refused(self, calling_ae: str, sop_class: str, reason: str) -> None:
        self._look("context_refused")

    def stored(self, calling_ae: str, status: int, size: int, seconds: float) -> None:
        self._look("stored")

    def _look(self, told: str) -> None:
        assert self.peer
        readable, _, _ = select.select([self.peer.socket], [], [], 0)
        self.already[told] = bool(readable)


@pytest.fixture
def notes() -> Notes:
    return Notes()


def test_stored_and_refused(start: Start, notes: Notes, tmp_path: Path) -> None:
    film, asked = write_film(tmp_path), []

    def accept(received: Received) -> None:
        asked.append(received)
        if len(asked) == 2:
            raise StoreUnavailable

    node = start(accept=accept, observer=notes)
    statuses = [one.status for one in send("127.0.0.1", node.port, [film, film], called_ae="XRAYQ", calling_ae="CR1")]
    assert statuses == [0, 0xA702]
    (_, _, _, size), _ = stored = [told for told in notes.told if told[0] == "stored"]
    assert stored == [("stored", "CR1", 0, size), ("stored", "CR1", 0xA702, size)]
    assert 0 < film.stat().st_size - int(str(size)) < 1000  # the file also has its meta header
    assert notes.told[0] == ("accepted", "CR1")
    assert node.gateway.listening
    wait_until(lambda: node.gateway.established == 0, 5, "the release")
    assert "aborted" not in {told[0] for told in notes.told}


def test_told_before_the_peer_is(start: Start) -> None:
    """A gateway that stops right after an answer has counted it."""
    answered = Answered()
    node = start(observer=answered)
    with Peer(node.port) as answered.peer:
        answered.peer.send(associate_rq(context_list=[*contexts(), *contexts(sop_class="1.2.3")[1:]]))
        wait_until(lambda: len(answered.already) == 2, 5, "the association")  # nothing is read until then
        answered.peer.receive()
        answered.peer.send(store_command("1.2.3.4"), *store_fragments(b"no data set"))
        wait_until(lambda: len(answered.already) == 3, 5, "the C-STORE")
    assert answered.already == {"accepted": False, "context_refused": False, "stored": False}


def test_rejected(start: Start, notes: Notes) -> None:
    node = start(observer=notes, calling_aes=("CR1",))
    with pytest.raises(PeerUnavailable):
        echo("127.0.0.1", node.port, called_ae="XRAYQ", calling_ae="CR2")
    assert notes.told == [("rejected", "CR2", "CALLING_AE")]


def test_aborted_is_every_end_but_release(start: Start, notes: Notes) -> None:
    node = start(observer=notes)
    with Peer(node.port):
        pass  # a port that is only looked at
    with Peer(node.port) as garbage:
        garbage.send(b"GET / HTTP/1.0\r\n\r\n")
        garbage.receive()
    with Peer(node.port) as vanishing:
        vanishing.associate()
        assert node.gateway.established == 1
    wait_until(lambda: len(notes.told) == 3, 5, "three notes")
    title = notes.told[1][1]
    assert notes.told == [("rejected", "", NO_REQUEST), ("accepted", title), ("aborted", title)]


def test_an_observer_that_raises_breaks_nothing(start: Start, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    node = start(observer=Broken())
    (sent,) = send("127.0.0.1", node.port, [write_film(tmp_path)], called_ae="XRAYQ")
    assert sent.status == 0
    with Peer(node.port) as vanishing:
        vanishing.associate()
    wait_until(lambda: caplog.text.count("observer failed") == 4, 5, "four complaints")
    assert "SECRET" not in caplog.text
