"""What lies where in a pack. Who makes one and who verifies one both ask here."""

import json
from typing import Any

FORMAT = "xrayq evidence 1"
README, MANIFEST, SIGNATURE, PUBLIC_KEY = "README.txt", "manifest.json", "manifest.sig", "public.pem"
SETTINGS = "settings.json"
UNSIGNED = (MANIFEST, SIGNATURE)
"""Files that the manifest does not list."""
# Of a film, in its folder:
FILM, TRAIL, TRAIL_ROWS, DELIVERIES, RESULTS, REPLAY, ALARMS, DICOM = (
    "film.json", "trail.json", "trail.jsonl", "deliveries.json", "results.json", "replay.json", "alarms.json",
    "film.dcm",
)  # fmt: skip
DIGITS = 12
"""Of a digest in a name."""
AS_RECEIVED = "as received"
"""Of a film in the spool."""
PREFIX, META_LENGTH = 132, 12
"""Of a DICOM file: bytes before its file meta information, and those of the element that holds the rest's length."""


def folder_of(instance_id: int) -> str:
    return f"film-{instance_id}"


def score_name(instance_id: int, number: int) -> str:
    """Numbers, here and below: what a row says that somebody altered may be no name of a file."""
    return f"{folder_of(instance_id)}/score-{number}.json"


def result_name(instance_id: int, number: int) -> str:
    return f"{folder_of(instance_id)}/result-{number}.dcm"


def bundle_name(digest: str, file: str) -> str:
    return f"bundle-{digest[:DIGITS]}/{file}"


def json_bytes(value: Any) -> bytes:
    """For people too: a line for each value."""
    return (json.dumps(value, indent=1, ensure_ascii=True) + "\n").encode()


def data_set_offset(part10: bytes) -> int:
    """Where the data set begins in a DICOM file (PS3.10 7.1): (0002,0000) says how long the file meta information is.

    Raises ValueError.
    """
    head = part10[PREFIX - 4 : PREFIX + META_LENGTH]
    if head[:12] != b"DICM\x02\x00\x00\x00UL\x04\x00" or len(head) != META_LENGTH + 4:
        raise ValueError("no DICOM file")
    return PREFIX + META_LENGTH + int.from_bytes(head[12:], "little")
