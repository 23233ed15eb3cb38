"""A presentation context that is not accepted is told of once, in the log and to whoever counts."""

import logging
from collections.abc import Callable
from pathlib import Path

import pytest
from pydicom import dcmread, uid
from pynetdicom import AE
from pynetdicom.sop_class import ModalityWorklistInformationFind, StorageCommitmentPushModel  # type: ignore[attr-defined]

from dicom_gateway.refused_contexts import MOST_NAMED
from tests.phantoms import chest_film, write_film
from tests.protocol.conftest import Node
from tests.protocol.raw import (
    ABORT,
    DX,
    STORE_CONTEXT,
    Peer,
    command_set,
    context_item,
    dataset_bytes,
    item,
    pdata,
    pdv,
    request,
    request_body,
)
from tests.protocol.test_observer import Notes
from tests.services import wait_until

Start = Callable[..., Node]
COMMITMENT, PRIVATE = StorageCommitmentPushModel.encode(), b"1.2.840.113619.4"
EXPLICIT = uid.ExplicitVRLittleEndian.encode()
STORE = context_item(STORE_CONTEXT, DX.encode(), EXPLICIT)


@pytest.fixture
def notes() -> Notes:
    return Notes()


def refused(notes: Notes) -> list[tuple[object, ...]]:
    return [told[1:] for told in notes.told if told[0] == "context"]


def lines(caplog: pytest.LogCaptureFixture) -> list[tuple[object, ...]]:
    names = ("calling_ae", "called_ae", "sop_class", "reason", "count")
    return [tuple(vars(one).get(name) for name in names) for one in caplog.records if "refused" in one.message]


def asks(node: Node, *contexts: bytes) -> Peer:
    peer = Peer(node.port)
    peer.send(request(request_body(b"".join(contexts), item(0x50, b""), calling=b"CR1")))
    assert peer.receive() is not None
    return peer


def test_each_class_once_with_titles_name_and_why(start: Start, notes: Notes, caplog: pytest.LogCaptureFixture) -> None:
    node = start(observer=notes)
    with (
        caplog.at_level(logging.INFO, "xrayq"),
        asks(
            node,
            context_item(1, COMMITMENT, EXPLICIT),
            STORE,
            context_item(5, COMMITMENT, uid.ImplicitVRLittleEndian.encode()),
            context_item(7, b"no UID", EXPLICIT),
            context_item(9, DX.encode()),
            context_item(10, DX.encode(), EXPLICIT),
            context_item(3, DX.encode(), EXPLICIT),
        ) as peer,
    ):
        film = chest_film("beside")
        assert peer.store(dataset_bytes(film), film.SOPInstanceUID).Status == 0x0000
    film_class = uid.UID(DX).name
    assert refused(notes) == [
        ("CR1", "Storage Commitment Push Model SOP Class", "abstract_syntax"),
        ("CR1", "(no SOP class)", "abstract_syntax"),
        ("CR1", film_class, "transfer_syntax"),
        ("CR1", film_class, "context_id"),
    ]
    assert lines(caplog) == [("CR1", "XRAYQ", *told[1:], None) for told in refused(notes)]


def test_a_scanner_gets_few_lines(start: Start, notes: Notes, caplog: pytest.LogCaptureFixture) -> None:
    node = start(observer=notes)
    scan = [context_item(number, b"%s.%d" % (PRIVATE, number)) for number in range(1, 256, 2)]  # no transfer syntax
    with caplog.at_level(logging.INFO, "xrayq"):
        for _ in range(20):
            asks(node, *scan).socket.close()
        wait_until(lambda: len(refused(notes)) == 20 * 128, 10, "all to be told")
    found = lines(caplog)
    assert len(found) == 60
    assert [one[-1] for one in found[: MOST_NAMED + 1]] == [None] * MOST_NAMED + [128 - MOST_NAMED]


def test_a_store_on_a_refused_context_is_an_abort_that_is_told(
    start: Start, notes: Notes, caplog: pytest.LogCaptureFixture
) -> None:
    node = start(observer=notes)
    with caplog.at_level(logging.INFO, "xrayq"), asks(node, context_item(1, COMMITMENT, EXPLICIT), STORE) as peer:
        command = command_set(1, sop_class=COMMITMENT.decode(), instance="1.2.3", has_data=True)
        peer.send(pdata(pdv(1, command, is_command=True)))
        answer = peer.receive()
        assert answer is not None
        assert answer.kind == ABORT
        wait_until(lambda: ("aborted", "CR1") in notes.told, 5, "the end")
    assert refused(notes)[1:] == [("CR1", "Storage Commitment Push Model SOP Class", "used")]
    (line,) = (vars(one) for one in caplog.records if one.message == "association aborted")
    assert (line["calling_ae"], line["called_ae"]) == ("CR1", "XRAYQ")
    assert line["reason"] == "presentation context was not accepted: Storage Commitment Push Model SOP Class"


def test_a_store_on_a_context_nobody_proposed_is_an_abort(start: Start, caplog: pytest.LogCaptureFixture) -> None:
    node = start()
    with asks(node, STORE) as peer:
        peer.send(pdata(pdv(99, command_set(1, instance="1.2.3", has_data=True), is_command=True)))
        answer = peer.receive()
        assert answer is not None
        assert answer.kind == ABORT
        assert peer.is_closed()
    assert "association aborted" in caplog.text


def test_pynetdicom_stores_after_a_refused_context(start: Start, notes: Notes, tmp_path: Path) -> None:
    node = start(observer=notes)
    film = dcmread(write_film(tmp_path))
    entity = AE(ae_title="CR1")
    for one in (ModalityWorklistInformationFind, film.SOPClassUID, StorageCommitmentPushModel):
        entity.add_requested_context(one, uid.ExplicitVRLittleEndian)
    association = entity.associate("127.0.0.1", node.port, ae_title="XRAYQ")
    assert [context.abstract_syntax for context in association.accepted_contexts] == [film.SOPClassUID]
    with pytest.raises(ValueError, match="No presentation context"):
        association.send_c_find(film, ModalityWorklistInformationFind)
    assert [association.send_c_store(film).Status for _ in range(2)] == [0x0000, 0x0000]
    association.release()
    assert len(node.accepted) == 2
    assert len(refused(notes)) == 2
