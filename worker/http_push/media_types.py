"""What a request says of its payload, and what it wants back (PS3.18 8.7, 10.5.1)."""

from collections.abc import Iterator

from python_multipart.multipart import parse_options_header
from starlette.datastructures import Headers
from starlette.exceptions import HTTPException

DICOM, JSON, PLAIN_JSON = "application/dicom", "application/dicom+json", "application/json"
LONGEST_BOUNDARY = 70  # RFC 2046 5.1.1
ACCEPTED = {JSON: JSON, PLAIN_JSON: PLAIN_JSON, "application/*": JSON, "*/*": JSON}
"""Media range in Accept -> what is answered."""


def answered_with(headers: Headers) -> str:
    """The media type of the answer: the first that we have, by the order of the peer's weights. Raises 406."""
    accept = ",".join(headers.getlist("accept")) or "*/*"
    ranges = sorted(_ranges(accept), key=lambda weighed: -weighed[1])
    for name, weight in ranges:
        if weight > 0 and name in ACCEPTED:
            return ACCEPTED[name]
    raise HTTPException(406, f"the answer is {JSON} alone")


def _ranges(accept: str) -> Iterator[tuple[str, float]]:
    for text in accept.split(","):
        name, parameters = parse_options_header(text.strip())
        try:
            weight = float(parameters.get(b"q", b"1"))
        except ValueError:
            weight = 0.0
        yield name.decode("latin-1").lower(), weight


def boundary_of(headers: Headers) -> bytes:
    """Of a payload that we take. Raises 415 for another kind, and 400 without a valid boundary."""
    if headers.get("content-encoding", "identity").strip().lower() != "identity":
        raise HTTPException(415, "no content encoding is taken", {"Accept-Encoding": "identity"})
    name, parameters = parse_options_header(headers.get("content-type", ""))
    if name != b"multipart/related" or parameters.get(b"type", DICOM.encode()).lower() != DICOM.encode():
        raise HTTPException(415, f'the payload should be multipart/related; type="{DICOM}"')
    boundary = parameters.get(b"boundary", b"")
    if not 0 < len(boundary) <= LONGEST_BOUNDARY:
        raise HTTPException(400, f"the boundary should have 1 to {LONGEST_BOUNDARY} characters")
    return boundary


def is_file(part: dict[bytes, bytes]) -> bool:
    """Whether the headers of a part, names in lower case, announce a Part 10 file as it is."""
    name, _ = parse_options_header(part.get(b"content-type", DICOM.encode()))
    coded = part.get(b"content-transfer-encoding", b"binary").strip().lower()
    return name == DICOM.encode() and b"content-encoding" not in part and coded in (b"binary", b"8bit", b"7bit")
