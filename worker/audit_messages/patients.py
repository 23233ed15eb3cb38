"""Whose film it is, for a repository that wants to know: PS3.15 A.5.3 has a Patient ID in messages about studies.

The database holds none, and messages have none unless XRAYQ_AUDIT_PATIENT_ID asks for it. Then it is read from the film
in the spool when the message is made, and kept nowhere.
"""

from dicom_gateway.errors import Refusal
from dicom_gateway.part10 import scan
from dicom_gateway.spool import Spool
from dicom_gateway.values import text
from worker.audit_messages.kinds import NOT_KNOWN

WITHHELD = "withheld"
"""XRAYQ_AUDIT_PATIENT_ID does not ask for it."""


def withheld(_digest: str) -> str:
    return WITHHELD


class Patients:
    """Patient IDs of films in a spool; NOT_KNOWN where a film has none, is not there, or cannot be read."""

    def __init__(self, spool: Spool) -> None:
        self._spool = spool

    def __call__(self, digest: str) -> str:
        """Args: digest: of the film, "" where none was kept."""
        if not digest:
            return NOT_KNOWN
        try:
            with self._spool.path_of(digest).open("rb") as film:
                found = scan(film, ("SpecificCharacterSet", "PatientID"), count_inflated=False)
        except (OSError, Refusal):
            return NOT_KNOWN
        return text(found.dataset, "PatientID") or NOT_KNOWN
