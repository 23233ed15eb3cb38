"""C-STORE as SCP (PS3.7 9.1.1, PS3.4 Annex B): a request's data set, from its first fragment to a durable film.

What can never be a film is not parsed, and not kept unless it is wanted.
"""

from pydicom.dataset import Dataset

from dicom_gateway.contexts import FILM_CLASSES, is_storage
from dicom_gateway.errors import (
    ClassMismatch,
    InstanceMismatch,
    InvalidInstance,
    NoDataSet,
    Refusal,
    StoreUnavailable,
    StudyMismatch,
    Truncated,
)
from dicom_gateway.header import read_header
from dicom_gateway.options import Received
from dicom_gateway.other_objects import LOOK, OtherObject, Passing, look
from dicom_gateway.part10 import encode_meta
from dicom_gateway.spool import Incoming, Spool
from dicom_gateway.values import is_valid_uid


class Store:
    """One request. What speaks against it is kept until its last byte is here: only then can the peer be answered."""

    def __init__(
        self,
        command: Dataset,
        context: tuple[str, str],
        spool: Spool,
        *,
        keep_other_objects: bool = False,
        study: str = "",
    ) -> None:
        """
        Args:
            context: SOP Class and transfer syntax of its presentation context.
            keep_other_objects: store also what can never be a film.
            study: the Study Instance UID that it must have; "": any.
        """
        self.size = 0
        """Bytes of its data set so far."""
        self._sop_class, self._syntax = context
        self._named_class = str(command.get("AffectedSOPClassUID"))
        self._sop_instance = str(command.get("AffectedSOPInstanceUID") or "")
        self._spool = spool
        self._film = self._sop_class in FILM_CLASSES
        self._stored = self._film or keep_other_objects
        self._study = study
        self._head = bytearray()
        """The first LOOK bytes of an object that is no film."""
        self._incoming: Incoming | Passing | None = None
        self._refusal: Refusal | None = None

    def begin(self, *, has_data: bool) -> None:
        """Check the command; open a file in the spool, for what is stored.

        Args:
            has_data: the command announces a data set (PS3.7 E.1, Command Data Set Type).
        """
        try:
            if not is_valid_uid(self._sop_instance):
                raise InvalidInstance
            if not is_storage(self._sop_class) or self._named_class != self._sop_class:
                raise ClassMismatch
            if not has_data:
                raise NoDataSet
            self._incoming = self._spool.open() if self._stored else Passing()
            self._incoming.write(encode_meta(self._sop_class, self._sop_instance, self._syntax))
        except Refusal as refusal:
            self._refuse(refusal)

    def write(self, fragment: memoryview) -> None:
        """Append; once refused, the rest is dropped."""
        self.size += len(fragment)
        if self._incoming is None:
            return
        if not self._film and len(self._head) < LOOK:
            self._head += fragment[: LOOK - len(self._head)]
        try:
            self._incoming.write(fragment)
        except Refusal as refusal:
            self._refuse(refusal)

    def keep(self, *, calling_ae: str, called_ae: str) -> Received | OtherObject:
        """Check the data set against the command and make it durable. Raises Refusal."""
        if self._incoming is None:
            raise self._refusal or StoreUnavailable()
        if self._film and isinstance(self._incoming, Incoming):
            return self._keep_film(self._incoming, calling_ae, called_ae)
        if not self.size:
            raise Truncated
        found = look(bytes(self._head), self._syntax)
        if self._study not in ("", found.study_instance_uid):
            raise StudyMismatch
        stored = self._incoming.commit()
        return OtherObject(
            sop_class_uid=self._sop_class,
            sop_instance_uid=self._sop_instance,
            transfer_syntax_uid=self._syntax,
            study_instance_uid=found.study_instance_uid,
            series_instance_uid=found.series_instance_uid,
            modality=found.modality,
            digest=stored.digest,
            size=stored.size,
            path=stored.path,
            calling_ae=calling_ae,
            called_ae=called_ae,
            fresh=stored.fresh,
        )

    def _keep_film(self, incoming: Incoming, calling_ae: str, called_ae: str) -> Received:
        header = read_header(incoming.path, most_inflated=self._spool.max_bytes)
        if header.sop_class_uid != self._sop_class:
            raise ClassMismatch
        if header.sop_instance_uid != self._sop_instance:
            raise InstanceMismatch
        if self._study not in ("", header.study_instance_uid):
            raise StudyMismatch
        stored = incoming.commit()
        return Received(
            header=header,
            digest=stored.digest,
            path=stored.path,
            size=stored.size,
            calling_ae=calling_ae,
            called_ae=called_ae,
            fresh=stored.fresh,
        )

    def discard(self) -> None:
        """Remove what came; a film that was kept stays."""
        if self._incoming:
            self._incoming.discard()
            self._incoming = None

    def _refuse(self, refusal: Refusal) -> None:
        self._refusal = refusal
        self.discard()
