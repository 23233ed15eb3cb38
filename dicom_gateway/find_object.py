"""C-FIND as SCU (PS3.4 C.4.1): whether a peer finds an object that it was sent.

Study Root, at IMAGE level, with Study, Series and SOP Instance UID: what every peer knows. Lists of UIDs, or a query
without the levels above, are not taken by each.
"""

from dataclasses import dataclass

from dicom_gateway.asking import Asking
from dicom_gateway.commitment import ObjectReference
from dicom_gateway.errors import SUCCESS
from dicom_gateway.querying import Question
from dicom_gateway.values import one_uid

MOST_MATCHES = 100
"""One is expected. A peer that takes the keys for others may send all that it has."""


@dataclass(frozen=True, kw_only=True)
class FindAnswer:
    """What a peer said to one question."""

    found: bool
    status: int | None
    """Of the last C-FIND-RSP: 0x0000 where it looked; None where no answer came."""


def find_object(peer: Asking, wanted: ObjectReference, *, seconds: float) -> FindAnswer:
    """Ask for one object. `seconds`: for each answer."""
    keys = {
        "StudyInstanceUID": wanted.study_instance_uid,
        "SeriesInstanceUID": wanted.series_instance_uid,
        "SOPInstanceUID": wanted.sop_instance_uid,
    }
    question = Question(peer, "IMAGE", keys, seconds=seconds, most=MOST_MATCHES)
    found = wanted.sop_instance_uid in [one_uid(match, "SOPInstanceUID") for match in question]
    if question.too_many and found:
        return FindAnswer(found=True, status=SUCCESS)
    return FindAnswer(found=found, status=question.status)
