"""A payload in pieces of any size, whole, cut and damaged: what is handed on, and what is answered."""

from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydicom import uid

from dicom_gateway.errors import Refusal, Truncated
from dicom_gateway.observer import Observer
from dicom_gateway.part10 import encode_meta
from dicom_gateway.peers import Connected
from dicom_gateway.spool import Spool
from tests.stow import BOUNDARY, part, payload
from worker.http_push.request_body import Intake, PayloadFault, RequestBody

NOWHERE = Spool(Path("/nowhere"))
"""Objects that can never be a film pass through: nothing is written."""
DATA = (
    st.lists(
        st.sampled_from([b"\r", b"\n", b"--", BOUNDARY.encode(), f"\r\n--{BOUNDARY}".encode()[:-1], b"data"]),
        min_size=1,
        max_size=8,
    )
    .map(b"".join)
    .filter(lambda data: f"\r\n--{BOUNDARY}".encode() not in b"\r\n" + data)
)


def report(number: int, data: bytes) -> bytes:
    """A structured report whose data set is its modality and these bytes: none looks at them."""
    meta = encode_meta(uid.BasicTextSRStorage, f"1.2.{number + 1}", uid.ExplicitVRLittleEndian)
    return meta + b"\x08\x00\x60\x00CS\x02\x00SR" + data


def taken(content: bytes, cuts: list[int], *, study: str = "") -> tuple[RequestBody, list[Any]]:
    arrived: list[Any] = []
    intake = Intake(
        spool=NOWHERE, accept=arrived.append, observer=Observer(), called_ae="XRAYQ", keep_other_objects=False
    )
    body = RequestBody(intake, BOUNDARY.encode(), sent_by=Connected(calling_ae="ROUTER", address=""), study=study)
    ends = sorted({min(cut, len(content)) for cut in cuts} | {len(content)})
    for begin, end in zip([0, *ends], ends, strict=False):
        body.feed(content[begin:end])
    body.end()
    body.discard()
    return body, arrived


@settings(max_examples=25)
@given(st.lists(DATA, min_size=1, max_size=3), st.lists(st.integers(0, 2000), max_size=12))
def test_pieces_of_any_size_are_the_same_payload(data: list[bytes], cuts: list[int]) -> None:
    content = payload([report(number, each) for number, each in enumerate(data)])
    body, arrived = taken(content, cuts)
    assert (body.status, body.fault) == (200, None)
    assert [found.size for found in arrived] == [len(report(number, each)) for number, each in enumerate(data)]
    assert [found.digest for found in arrived] == [found.digest for found in taken(content, [])[1]]


@settings(max_examples=60)
@given(st.integers(0, 1500), st.lists(st.integers(0, 1500), max_size=4))
def test_what_is_cut_is_told_and_what_was_whole_stays(end: int, cuts: list[int]) -> None:
    parts = [part(report(number, b"data" * 50)) for number in range(2)]
    content = (b"".join(parts) + f"--{BOUNDARY}--".encode())[:end]
    body, arrived = taken(content, cuts)
    boundary = len(f"--{BOUNDARY}")
    whole = sum(end >= sum(map(len, parts[: number + 1])) + boundary + 2 for number in range(2))
    assert len(arrived) == body.kept == whole
    if whole < 2:
        assert body.fault in (PayloadFault.CUT, PayloadFault.EMPTY)
        assert isinstance(body.answers[-1].refusal, Truncated)
        assert body.status == (202 if whole else 400)


@settings(max_examples=60)
@given(st.binary(max_size=300), st.integers(0, 700), st.lists(st.integers(0, 1000), max_size=4))
def test_damage_anywhere_raises_nothing(garbage: bytes, at: int, cuts: list[int]) -> None:
    content = payload([report(1, b"data" * 50)])
    body, arrived = taken(content[:at] + garbage + content[at + len(garbage) :], cuts)
    assert len(arrived) == body.kept
    assert all(isinstance(answer.refusal, Refusal | None) for answer in body.answers)
    assert body.status in (200, 202, 400, 409)


@pytest.mark.parametrize(
    "headers",
    ["Content-Type: text/plain", "Content-Encoding: gzip", "Content-Transfer-Encoding: base64"],
)
def test_a_part_that_is_no_file_fails_alone(headers: str) -> None:
    coded = f"--{BOUNDARY}\r\n{headers}\r\n\r\n".encode() + report(1, b"data") + b"\r\n"
    body, arrived = taken(coded + payload([report(2, b"data")]), [])
    assert (body.status, len(arrived), arrived[0].sop_instance_uid) == (202, 1, "1.2.3")


def test_a_study_in_the_path_holds_for_other_objects_too() -> None:
    body, arrived = taken(payload([report(1, b"data")]), [], study="1.2.3.4")
    assert (body.status, arrived) == (409, [])
