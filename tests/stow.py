"""Requests of STOW-RS (PS3.18 10.5) as bytes, made here and not by the library that reads them."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

BOUNDARY = "the-boundary"
RELATED = f'multipart/related; type="application/dicom"; boundary={BOUNDARY}'
TAGS = {"kept": "00081199", "failed": "00081198", "other": "0008119A"}


def part(content: bytes, content_type: str = "application/dicom") -> bytes:
    return f"--{BOUNDARY}\r\nContent-Type: {content_type}\r\n\r\n".encode() + content + b"\r\n"


def payload(files: Sequence[Path | bytes]) -> bytes:
    """Whole, with its closing boundary."""
    contents = [file if isinstance(file, bytes) else file.read_bytes() for file in files]
    return b"".join(map(part, contents)) + f"--{BOUNDARY}--\r\n".encode()


def outcomes(answer: Any) -> dict[str, list[tuple[str, int]]]:
    """Of the JSON of an answer: what became of each instance, as (SOP Instance UID, status); 0 is success."""
    assert answer["00081190"] == {"vr": "UR"}, "no Retrieve URL"
    return {
        name: [
            (item.get("00081155", {"Value": [""]})["Value"][0], item.get("00081197", {"Value": [0]})["Value"][0])
            for item in answer[tag]["Value"]
        ]
        for name, tag in TAGS.items()
        if tag in answer
    }
