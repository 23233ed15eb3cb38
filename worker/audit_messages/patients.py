"""Whose film it is, for a repository that wants to know: PS3.15 A.5.3 has a Patient ID in messages about studies.

The database holds none, and messages have none unless XRAYQ_AUDIT_PATIENT_ID asks for it. Then it is read from the film
in the spool when the message is made, and kept nowhere.
"""

import warnings

from pydicom import dcmread

from dicom_gateway.spool import Spool
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
            with warnings.catch_warnings():  # pydicom's quote values of the film
                warnings.simplefilter("ignore")
                film = dcmread(self._spool.path_of(digest), specific_tags=["PatientID"], stop_before_pixels=True)
            return str(film.get("PatientID") or "").strip() or NOT_KNOWN
        except Exception:  # noqa: BLE001 - pydicom lets any error of its parsers through, and a message goes out anyway
            return NOT_KNOWN
