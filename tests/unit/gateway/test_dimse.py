"""Responses decoded by pynetdicom; the tables of errors and contexts."""

import struct
from io import BytesIO

import pytest
from pydicom import uid
from pydicom.dataset import Dataset
from pynetdicom.dimse_messages import DIMSEMessage
from pynetdicom.dimse_primitives import C_ECHO, C_STORE
from pynetdicom.dsutils import decode
from pynetdicom.pdu import P_DATA_TF
from pynetdicom.status import STORAGE_SERVICE_CLASS_STATUS

from dicom_gateway import contexts, encode, errors
from dicom_gateway.dimse import Response, encode_response

LONG_UID = "1." + "2" * 62


def request(**elements: object) -> Dataset:
    command = Dataset()
    for keyword, value in elements.items():
        setattr(command, keyword, value)
    return command


def pdus(encoded: bytes) -> list[bytes]:
    found = []
    while encoded:
        (length,) = struct.unpack_from(">L", encoded, 2)
        found.append(encoded[: 6 + length])
        encoded = encoded[6 + length :]
    return found


@pytest.mark.parametrize("max_pdu", [70, 100, 16382, 131072])
@pytest.mark.parametrize(
    ("status", "comment"), [(0x0000, ""), *((refusal.status, refusal.comment) for refusal in errors.REFUSALS)]
)
def test_a_store_response_is_what_pynetdicom_reads(max_pdu: int, status: int, comment: str) -> None:
    command = request(
        CommandField=1, MessageID=65535, AffectedSOPClassUID="1.2.3", AffectedSOPInstanceUID=LONG_UID, Priority=0
    )
    encoded = encode_response(Response.to(command, status=status, comment=comment), 5, max_pdu)
    message = DIMSEMessage()
    complete = []
    for one in pdus(encoded):
        assert len(one) - 6 <= max_pdu
        pdu = P_DATA_TF()
        pdu.decode(one)
        complete.append(message.decode_msg(pdu.to_primitive()))
    assert complete == [False] * (len(complete) - 1) + [True]
    primitive = message.message_to_primitive()
    assert isinstance(primitive, C_STORE)
    assert (primitive.Status, primitive.MessageIDBeingRespondedTo) == (status, 65535)
    assert (primitive.AffectedSOPClassUID, primitive.AffectedSOPInstanceUID) == ("1.2.3", LONG_UID)
    assert (primitive.ErrorComment or "") == comment
    assert message.context_id == 5


def test_an_echo_response_is_what_pynetdicom_reads() -> None:
    command = request(CommandField=0x30, MessageID=7, AffectedSOPClassUID=contexts.VERIFICATION)
    pdu = P_DATA_TF()
    pdu.decode(encode_response(Response.to(command, status=0), 1, 16382))
    message = DIMSEMessage()
    assert message.decode_msg(pdu.to_primitive())
    primitive = message.message_to_primitive()
    assert isinstance(primitive, C_ECHO)
    assert (primitive.Status, primitive.MessageIDBeingRespondedTo) == (0, 7)


def test_an_empty_request_still_has_a_response_without_empty_elements() -> None:
    encoded = encode_response(Response.to(Dataset(), status=0x0211), 1, 16382)
    decoded = decode(BytesIO(encoded[12:]), True, True)
    assert {element.keyword for element in decoded} == {
        "CommandGroupLength", "CommandField", "MessageIDBeingRespondedTo", "CommandDataSetType", "Status",
    }  # fmt: skip
    assert decoded.CommandGroupLength == len(encoded) - 12 - 12
    assert decoded.CommandDataSetType == 0x0101


def test_a_comment_is_cut_to_64_characters() -> None:
    assert Response.to(Dataset(), status=0x0110, comment="x" * 100).comment == "x" * 64


def everything_below(base: type) -> set[type]:
    return {base} | {deeper for child in base.__subclasses__() for deeper in everything_below(child)}


def allowed(status: int) -> bool:
    """A failure of C-STORE: PS3.4 Table B.2-1, or PS3.7 Annex C for the general ones."""
    general = {0x0105, 0x0106, 0x0110, 0x0111, 0x0112, 0x0115, 0x0116, 0x0117, 0x0118, 0x0119, 0x0120, 0x0122, 0x0124}
    ranges = status & 0xFF00 in (0xA700, 0xA900) or status & 0xF000 == 0xC000
    return status in general or ranges


@pytest.mark.parametrize("refusal", sorted(everything_below(errors.Refusal), key=lambda one: one.__name__))
def test_every_refusal_has_its_own_failure_and_a_short_comment(refusal: type[errors.Refusal]) -> None:
    assert allowed(refusal.status)
    assert STORAGE_SERVICE_CLASS_STATUS.get(refusal.status, ("Failure",))[0] == "Failure"
    assert 0 < len(refusal.comment) <= 64
    assert refusal.comment.isascii()
    others = everything_below(errors.Refusal) - {refusal}
    assert refusal.status not in {other.status for other in others}


def test_the_tables_of_errors_are_complete() -> None:
    assert set(errors.REFUSALS) == everything_below(errors.Refusal) - {errors.Refusal}
    assert set(errors.PIXEL_ERRORS) == everything_below(errors.PixelError) - {errors.PixelError}
    reasons = [one.reason for one in (errors.PixelError, *errors.PIXEL_ERRORS)]
    assert len(set(reasons)) == len(reasons)
    assert all(reason.isidentifier() and reason.islower() for reason in reasons)


CODING = {
    "raw": ("VR",),
    "rle": ("RLE",),
    "jpeg": ("JPEG Baseline", "JPEG Extended", "JPEG Lossless"),
    "jpegls": ("JPEG-LS",),
    "jpeg2k": ("JPEG 2000",),
    "htj2k": ("High-Throughput JPEG 2000",),
}


@pytest.mark.parametrize("syntax", contexts.TRANSFER_SYNTAXES, ids=lambda row: row.name)
def test_the_transfer_syntaxes_are_what_pydicom_calls_them(syntax: contexts.TransferSyntax) -> None:
    standard = uid.UID(syntax.uid)
    assert standard.is_transfer_syntax
    assert any(word in standard.name for word in CODING[syntax.codec])
    assert standard.is_encapsulated == (syntax.codec != "raw")
    assert syntax.lossy == (syntax.uid in LOSSY)
    assert contexts.SYNTAX_BY_UID[syntax.uid] is syntax


LOSSY = {uid.JPEGBaseline8Bit, uid.JPEGExtended12Bit, uid.JPEGLSNearLossless, uid.JPEG2000, uid.HTJ2K}


def test_the_contexts_table() -> None:
    assert len(contexts.SYNTAX_BY_UID) == len(contexts.TRANSFER_SYNTAXES)
    assert uid.UID(contexts.VERIFICATION).name == "Verification SOP Class"
    assert all("Storage" in uid.UID(sop_class).name for sop_class in contexts.FILM_CLASSES)
    assert uid.ImplicitVRLittleEndian in contexts.SYNTAX_BY_UID  # PS3.5 10.1: everybody's default
    coded = {str(row.uid) for row in contexts.TRANSFER_SYNTAXES if row.codec != "raw"}
    assert {str(one) for one in encode.ENCODERS} == coded
