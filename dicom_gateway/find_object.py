"""C-FIND as SCU (PS3.4 C.4.1): whether a peer finds an object that it was sent.

Study Root, at IMAGE level, with Study, Series and SOP Instance UID: what every peer knows. Lists of UIDs, or a query
without the levels above, are not taken by each.
"""

from dataclasses import dataclass
from io import BytesIO

from pydicom.dataset import Dataset
from pydicom.uid import ImplicitVRLittleEndian
from pynetdicom.dsutils import decode

from dicom_gateway.asking import Asking, Heard
from dicom_gateway.commitment import ObjectReference
from dicom_gateway.contexts import STUDY_ROOT_FIND
from dicom_gateway.dimse import C_FIND_RQ, number, uid_value
from dicom_gateway.errors import SUCCESS

PENDING = (0xFF00, 0xFF01)
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
    asked = Dataset()
    asked.QueryRetrieveLevel = "IMAGE"
    asked.StudyInstanceUID = wanted.study_instance_uid
    asked.SeriesInstanceUID = wanted.series_instance_uid
    asked.SOPInstanceUID = wanted.sop_instance_uid
    peer.send(STUDY_ROOT_FIND, C_FIND_RQ, ((0x0002, uid_value(STUDY_ROOT_FIND)), (0x0700, number(0))), asked)
    found = False
    for _ in range(MOST_MATCHES):
        heard = peer.hear(seconds)
        if heard is None:
            return FindAnswer(found=found, status=None)
        status = heard.command.get("Status")
        if status not in PENDING:
            return FindAnswer(found=found, status=status)
        found = found or _is(heard, wanted)
    peer.over = True  # whatever it still sends is not waited for
    return FindAnswer(found=found, status=SUCCESS if found else None)


def _is(heard: Heard, wanted: ObjectReference) -> bool:
    try:
        match = decode(BytesIO(heard.data), heard.syntax == ImplicitVRLittleEndian, True)
        return str(match.get("SOPInstanceUID")) == wanted.sop_instance_uid
    except Exception:  # noqa: BLE001 - pydicom lets any error of its parsers through
        return False
