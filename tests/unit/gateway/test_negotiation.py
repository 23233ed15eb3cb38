"""Damaged A-ASSOCIATE-RQs: each is answered or aborted, soon, and nothing is agreed on that was not asked for."""

import struct
import time

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from pydicom import uid
from pydicom.uid import UID_dictionary  # type: ignore[attr-defined]
from pynetdicom.pdu import A_ASSOCIATE_AC

from dicom_gateway import items
from dicom_gateway.association import MAX_ASSOCIATE_PDU
from dicom_gateway.contexts import TRANSFER_SYNTAXES
from dicom_gateway.errors import Abort
from dicom_gateway.negotiation import MOST_REFUSED, NO_CLASS, Accepted, accept, class_name, decode_request, fault_of
from dicom_gateway.options import GatewayOptions
from tests.fuzz.changes import CHANGES, Change, changed
from tests.protocol.raw import associate_rq, context_item, contexts, item, request_body

OPTIONS = GatewayOptions(host="", port=0)
SYNTAXES = (uid.ExplicitVRLittleEndian, uid.ExplicitVRBigEndian, uid.ImplicitVRLittleEndian)
FILMS = (uid.ComputedRadiographyImageStorage, uid.DigitalXRayImageStorageForPresentation)
CLASSES = [one for one, entry in UID_dictionary.items() if entry[1] == "SOP Class" and "Storage" in entry[0]][:63]


def dcmtk(classes: list[str], title: bytes, version: bytes) -> bytes:
    """As DCMTK's storescu and Orthanc ask: each class once in explicit VR, once in the two others."""
    proposed = b""
    for number, one in enumerate([*FILMS, *classes]):
        first, *others = (syntax.encode() for syntax in SYNTAXES)
        proposed += context_item(4 * number % 256 | 1, one.encode(), first)
        proposed += context_item(4 * number % 256 | 3, one.encode(), *others)
    information = (
        item(0x51, struct.pack(">L", 16384)) + item(0x52, b"1.2.276.0.7230010.3.0.3.6.7") + item(0x55, version)
    )
    return request_body(proposed, item(0x50, information), calling=title)


def everything() -> bytes:
    """Every user item there is, and every transfer syntax that is decoded."""
    film = FILMS[0].encode()
    named = struct.pack(">H", len(film)) + film
    user = (
        item(0x51, struct.pack(">L", 65536)),
        item(0x52, b"1.2.3"),
        item(0x53, b"\0\1\0\1"),
        item(0x54, named + b"\1\0"),
        item(0x55, b"NAME"),
        item(0x56, named + b"\2\0\3\0\1\0"),
        item(0x57, named + named + b"\0\0"),
        item(0x58, b"\2\1\0\2me\0\2pw"),
    )
    return request_body(
        context_item(1, film, *(row.uid.encode() for row in TRANSFER_SYNTAXES)), item(0x50, b"".join(user))
    )


SHAPES = (
    associate_rq()[6:],
    associate_rq(context_list=contexts(syntax=uid.MPEG2MPML))[6:],
    dcmtk([], b"DCMSEND", b"OFFIS_DCMTK_367"),
    dcmtk(CLASSES[:61], b"ORTHANC", b"OFFIS_DCMTK_366"),
    everything(),
)


def agreed(body: bytes) -> Accepted | None:
    """None for an A-ABORT or A-ASSOCIATE-RJ."""
    try:
        request = decode_request(body)
    except Abort:
        return None
    return None if fault_of(request, OPTIONS) else accept(request, OPTIONS)


def proposed(body: bytes, context_id: int, sop_class: str, syntax: str) -> bool:
    """Looked up in the bytes alone, at every place where a presentation context may begin."""
    for start in range(len(body) - 8):
        if body[start] == 0x20 and body[start + 4] == context_id:
            value = body[start + 8 : start + 4 + int.from_bytes(body[start + 2 : start + 4])]
            if b"\x30" in value and sop_class.encode() in value and b"\x40" in value and syntax.encode() in value:
                return True
    return False


DAMAGED = given(shape=st.sampled_from(SHAPES), changes=CHANGES)


@settings(max_examples=200)
@DAMAGED
@example(shape=SHAPES[0], changes=[])
@example(shape=SHAPES[4], changes=[("end", 68, b"\0")])
def test_damaged_requests(shape: bytes, changes: list[Change]) -> None:
    nothing_is_accepted_but_what_was_proposed(shape, changes)


@pytest.mark.slow
@settings(max_examples=1500)
@DAMAGED
def test_many_damaged_requests(shape: bytes, changes: list[Change]) -> None:
    nothing_is_accepted_but_what_was_proposed(shape, changes)


def nothing_is_accepted_but_what_was_proposed(shape: bytes, changes: list[Change]) -> None:
    body = changed(shape, changes)
    found = agreed(body)
    if found is None:
        return
    assert len(found.refused) <= MOST_REFUSED
    for context_id, (sop_class, syntax) in found.contexts.items():
        assert context_id % 2 == 1
        assert proposed(body, context_id, sop_class, syntax)
    variable, whole = items.read(found.pdu[6 + 68 :])
    assert whole
    results = {one[0]: one[2] for one in items.of_kind(variable, items.Item.PRESENTATION_CONTEXT_RESULT)}
    assert {context_id for context_id, result in results.items() if result == 0} == set(found.contexts)


@settings(max_examples=300)
@given(body=st.binary(max_size=400))
def test_noise(body: bytes) -> None:
    agreed(body)
    agreed(SHAPES[0][:68] + body)


@pytest.mark.parametrize("shape", SHAPES)
def test_real_shapes_are_answered_as_pynetdicom_reads_it(shape: bytes) -> None:
    found = agreed(shape)
    assert found is not None
    pdu = A_ASSOCIATE_AC()
    pdu.decode(found.pdu)
    answered = pdu.to_primitive()
    assert answered.maximum_length_received == 131072
    assert answered.calling_ae_title in ("RAW", "DCMSEND", "ORTHANC")
    results = {one.context_id: one for one in answered.presentation_context_definition_results_list}
    assert {key: str(results[key].transfer_syntax[0]) for key, one in results.items() if one.result == 0} == {
        key: syntax for key, (_, syntax) in found.contexts.items()
    }
    asked = items.of_kind(items.read(shape[68:])[0], items.Item.PRESENTATION_CONTEXT)
    assert set(results) == {one[0] for one in asked}, "each has its answer (PS3.8 9.3.3.2)"


LARGEST = MAX_ASSOCIATE_PDU - 100
WORST = {
    "empty items": bytes.fromhex("99000000") * (LARGEST // 4),
    "empty contexts": item(0x20, b"") * (LARGEST // 4),
    "sub-items": b"".join(
        item(0x20, bytes((number | 1, 0, 0, 0)) + bytes.fromhex("40000000") * 16_000) for number in (0, 2)
    ),
    "classes": b"".join(context_item(number % 256, b"1.2.%d" % number, b"1.2.3.4") for number in range(LARGEST // 40)),
    "one class": context_item(3, b"1.2.840.10008.5.1.4.1.1.1", b"1.2") * (LARGEST // 50),
}


@pytest.mark.parametrize("name_", WORST)
def test_the_longest_requests_take_no_time_and_leave_little(name_: str) -> None:
    body = request_body(WORST[name_], item(0x50, b""))
    assert len(body) <= MAX_ASSOCIATE_PDU
    began = time.process_time()
    found = agreed(body)
    assert time.process_time() - began < 1
    assert found is not None
    assert len(found.refused) <= MOST_REFUSED
    assert len(found.pdu) < 20_000


@pytest.mark.parametrize(
    ("sop_class", "words"),
    [
        ("1.2.840.10008.1.20.1", "Storage Commitment Push Model SOP Class"),
        ("1.2.840.113619.4.2", "1.2.840.113619.4.2"),
        ("1.02.3", "1.02.3"),
        ("", NO_CLASS),
    ],
)
def test_what_a_class_is_called(sop_class: str, words: str) -> None:
    assert class_name(sop_class) == words
