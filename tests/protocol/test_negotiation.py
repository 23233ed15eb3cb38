"""Who may associate, and for what (PS3.8 9.3.2 to 9.3.4)."""

import struct
from collections.abc import Callable
from contextlib import ExitStack

import pytest
from pydicom import uid
from pynetdicom import sop_class
from pynetdicom.pdu import A_ASSOCIATE_AC
from pynetdicom.presentation import build_context

from dicom_gateway.association import MAX_ASSOCIATE_PDU
from dicom_gateway.contexts import FILM_CLASSES, TRANSFER_SYNTAXES, VERIFICATION
from tests.phantoms import chest_film
from tests.protocol.conftest import Node
from tests.protocol.raw import ABORT, ASSOCIATE_AC, ASSOCIATE_RJ, DX, Pdu, Peer, associate_rq, contexts, dataset_bytes
from tests.services import wait_until


def results(answer: Pdu) -> dict[int, tuple[int, str]]:
    """Result and transfer syntax by context id."""
    pdu = A_ASSOCIATE_AC()
    pdu.decode(b"\x02\0" + len(answer.body).to_bytes(4, "big") + answer.body)
    items = pdu.to_primitive().presentation_context_definition_results_list
    return {item.context_id: (item.result, str(item.transfer_syntax[0])) for item in items}


@pytest.mark.parametrize(
    ("options", "request_", "answer"),
    [
        ({"require_called_ae": True}, {"called": "OTHER"}, (1, 1, 7)),
        ({"require_called_ae": True}, {"called": "xrayq"}, (1, 1, 7)),
        ({"require_called_ae": True}, {"called": "XRAYQ"}, None),
        ({}, {"called": "OTHER"}, None),
        ({"calling_aes": ("PACS", "CR1")}, {"calling": "STRANGER"}, (1, 1, 3)),
        ({"calling_aes": ("PACS", "CR1")}, {"calling": "CR1"}, None),
        ({}, {"calling": "STRANGER"}, None),
        ({}, {"application": "1.2.840.10008.3.1.1.2"}, (1, 1, 2)),
        ({"max_associations": 0}, {}, (2, 3, 2)),
    ],
)
def test_who_is_let_in(
    start: Callable[..., Node], options: dict[str, object], request_: dict[str, str], answer: tuple[int, ...] | None
) -> None:
    node = start(**options)
    with Peer(node.port) as peer:
        pdu = peer.associate(**request_)
        if answer is None:
            assert pdu.kind == ASSOCIATE_AC
            assert peer.echo() == 0x0000
        else:
            assert (pdu.kind, tuple(pdu.body[1:4])) == (ASSOCIATE_RJ, answer)
            assert peer.is_closed()


@pytest.mark.parametrize(
    ("title", "read"),
    [
        (b"CR1".ljust(16, b"\0"), "CR1"),
        (b"CR1 \0old bytes..", "CR1"),
        (" R\u00d6NTGEN1".encode("latin-1").ljust(16), "R?NTGEN1"),
        ("R\u00d6NTGEN1".encode().ljust(16), "R??NTGEN1"),
        (b"CR\\1\x1b".ljust(16), "CR?1?"),
        (bytes(16), "?"),
        (b" " * 16, "?"),
    ],
)
def test_a_title_that_is_not_quite_one_is_read(start: Callable[..., Node], title: bytes, read: str) -> None:
    node = start()
    with Peer(node.port) as peer:
        request = associate_rq()
        peer.send(request[:10], title, title, request[42:])
        answer = peer.receive()
        assert answer is not None
        assert answer.kind == ASSOCIATE_AC
        assert answer.body[4:36] == title + title, "given back as it came (PS3.8 9.3.3)"
        film = chest_film("title")
        assert peer.store(dataset_bytes(film), film.SOPInstanceUID).Status == 0x0000
    (received,) = node.accepted
    assert (received.calling_ae, received.called_ae) == (read, read)


def test_a_padded_called_title_is_ours(start: Callable[..., Node]) -> None:
    node = start(require_called_ae=True, calling_aes=("CR1",))
    with Peer(node.port) as peer:
        request = associate_rq()
        peer.send(request[:10], b"XRAYQ".ljust(16, b"\0"), b"CR1".ljust(16, b"\0"), request[42:])
        answer = peer.receive()
        assert answer is not None
        assert answer.kind == ASSOCIATE_AC


def test_the_largest_request_there_may_be_is_taken_and_no_larger(start: Callable[..., Node]) -> None:
    """128 presentation contexts, each with every transfer syntax that is not retired."""
    node = start(association_timeout=10.0)  # it is made after the connection, and a busy machine took over a second
    syntaxes = [one for one, entry in uid.UID_dictionary.items() if entry[1] == "Transfer Syntax" and not entry[3]]
    classes = [one for one, entry in uid.UID_dictionary.items() if entry[1] == "SOP Class"]
    longest = max(classes, key=len)
    proposed = [build_context(longest, syntaxes) for _ in range(128)]
    for number, context in enumerate(proposed):
        context.context_id = 2 * number + 1
    with Peer(node.port) as peer:
        assert peer.associate(context_list=proposed).kind == ASSOCIATE_AC
    with Peer(node.port) as peer:
        peer.send(struct.pack(">BxL", 1, MAX_ASSOCIATE_PDU + 1))
        answer = peer.receive()
        assert answer is not None
        assert answer.kind == ABORT


def test_one_association_too_many_is_rejected_until_one_ends(start: Callable[..., Node]) -> None:
    node = start(max_associations=3)
    with ExitStack() as stack:
        first, *_ = peers = [stack.enter_context(Peer(node.port)) for _ in range(3)]
        assert [peer.associate().kind for peer in peers] == [ASSOCIATE_AC] * 3
        with Peer(node.port) as late:
            refused = late.associate()
        assert (refused.kind, tuple(refused.body[1:4])) == (ASSOCIATE_RJ, (2, 3, 2))
        first.socket.close()

        def let_in() -> bool:
            return stack.enter_context(Peer(node.port)).associate().kind == ASSOCIATE_AC

        wait_until(let_in, 5, "a free place")


def test_a_class_of_another_service_is_rejected_and_the_others_work(node: Node) -> None:
    with Peer(node.port) as peer:
        answer = peer.associate(context_list=contexts(sop_class=sop_class.StudyRootQueryRetrieveInformationModelFind))
        assert {context: result for context, (result, _) in results(answer).items()} == {1: 0, 3: 3}
        assert peer.echo() == 0x0000


def of_pynetdicom(*, storage: bool) -> list[str]:
    """UIDs of its own tables of services: storage classes, or those of the others."""
    tables = {name: table for name, table in vars(sop_class).items() if name.endswith("_CLASSES")}
    stored = ("_STORAGE_CLASSES", "_NON_PATIENT_OBJECT_CLASSES")
    neither = ("_VERIFICATION_CLASSES", "_SERVICE_CLASSES")
    chosen = [table for name, table in tables.items() if name not in neither and (name in stored) is storage]
    return [str(one) for table in chosen for one in table.values()]


RETIRED = ["1.2.840.10008.5.1.4.1.1.6", "1.2.840.10008.5.1.4.1.1.9", "1.2.840.10008.5.1.4.1.1.12.3"]
UNKNOWN = ["1.2.840.10008.5.1.4.1.1.999.1", "1.2.840.113619.4.26", "1.3.12.2.1107.5.9.1", "2.25.4711"]


def test_every_storage_class_is_accepted_in_whatever_syntax(node: Node) -> None:
    """Retired, unknown and private ones too, in syntaxes that nobody here decodes."""
    private = "1.2.840.113619.5.2"
    every = [*of_pynetdicom(storage=True), *RETIRED, *UNKNOWN]
    assert len(every) > 180
    for syntax in (uid.ExplicitVRLittleEndian, uid.MPEG2MPML, private):
        for start in range(0, len(every), 100):
            proposed = [build_context(one, syntax) for one in every[start : start + 100]]
            for number, context in enumerate(proposed):
                context.context_id = 2 * number + 1
            with Peer(node.port) as peer:
                answer = peer.associate(context_list=proposed)
            assert set(results(answer).values()) == {(0, str(syntax))}


def test_classes_of_other_services_are_rejected(node: Node) -> None:
    proposed = [build_context(one) for one in of_pynetdicom(storage=False)]
    proposed += [build_context(one) for one in ("1.2.840.10008.1.2.1", "1.2.840.10008.1.20.2", "1.2.840.10008.4.2")]
    for number, context in enumerate(proposed):
        context.context_id = 2 * number + 1
    with Peer(node.port) as peer:
        answer = peer.associate(context_list=proposed)
    assert len(proposed) > 50
    assert {result for result, _ in results(answer).values()} == {3}


@pytest.mark.parametrize(
    ("offered", "taken"),
    [
        ([uid.JPEG2000, uid.ExplicitVRLittleEndian], uid.JPEG2000),
        ([uid.MPEG2MPML, uid.ImplicitVRLittleEndian], uid.ImplicitVRLittleEndian),
        ([uid.MPEG2MPML, "1.2.840.113619.5.2"], uid.MPEG2MPML),
    ],
)
def test_the_first_offered_syntax_that_is_decoded_is_taken(node: Node, offered: list[str], taken: str) -> None:
    """By each context for itself: the same class may be proposed again with others."""
    proposed = [build_context(DX, offered), build_context(DX, uid.MPEG2MPML), build_context(DX, uid.JPEGLSLossless)]
    for number, context in enumerate(proposed):
        context.context_id = 2 * number + 1
    with Peer(node.port) as peer:
        answer = peer.associate(context_list=proposed)
    assert results(answer) == {1: (0, str(taken)), 3: (0, str(uid.MPEG2MPML)), 5: (0, str(uid.JPEGLSLossless))}


@pytest.mark.parametrize("film_class", FILM_CLASSES, ids=FILM_CLASSES.get)
def test_every_row_of_the_table_is_accepted(node: Node, film_class: str) -> None:
    proposed = [build_context(film_class, syntax.uid) for syntax in TRANSFER_SYNTAXES]
    for number, context in enumerate(proposed):
        context.context_id = 2 * number + 1
    with Peer(node.port) as peer:
        answer = peer.associate(context_list=proposed)
    assert list(results(answer).values()) == [(0, str(syntax.uid)) for syntax in TRANSFER_SYNTAXES]


def test_verification_is_accepted_uncompressed_only(node: Node) -> None:
    syntaxes = [uid.ImplicitVRLittleEndian, uid.ExplicitVRLittleEndian, uid.ExplicitVRBigEndian, uid.JPEGBaseline8Bit]
    proposed = [build_context(VERIFICATION, syntax) for syntax in syntaxes]
    for number, context in enumerate(proposed):
        context.context_id = 2 * number + 1
    with Peer(node.port) as peer:
        answer = peer.associate(context_list=proposed)
    assert [result for result, _ in results(answer).values()] == [0, 0, 0, 4]
