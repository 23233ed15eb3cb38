"""C-STORE as SCP (PS3.7 9.1.1, PS3.4 Annex B): a request's data set, from its first fragment to a durable film."""

from pydicom.dataset import Dataset

from dicom_gateway.contexts import VERIFICATION
from dicom_gateway.errors import ClassMismatch, InstanceMismatch, InvalidInstance, Refusal, StoreUnavailable
from dicom_gateway.header import is_valid_uid, read_header
from dicom_gateway.options import Received
from dicom_gateway.part10 import encode_meta
from dicom_gateway.spool import Incoming, Spool


class Store:
    """One request. What speaks against it is kept until its last byte is here: only then can the peer be answered."""

    def __init__(self, command: Dataset, context: tuple[str, str], spool: Spool) -> None:
        """
        Args:
            context: SOP Class and transfer syntax of its presentation context.
        """
        self.size = 0
        """Bytes of its data set so far."""
        self._sop_class, self._syntax = context
        self._named_class = str(command.get("AffectedSOPClassUID"))
        self._sop_instance = str(command.get("AffectedSOPInstanceUID") or "")
        self._spool = spool
        self._incoming: Incoming | None = None
        self._refusal: Refusal | None = None

    def begin(self) -> None:
        """Check the command, open a file in the spool."""
        try:
            if not is_valid_uid(self._sop_instance):
                raise InvalidInstance
            if self._sop_class == VERIFICATION or self._named_class != self._sop_class:
                raise ClassMismatch
            self._incoming = self._spool.open()
            self._incoming.write(encode_meta(self._sop_class, self._sop_instance, self._syntax))
        except Refusal as refusal:
            self._refuse(refusal)

    def write(self, fragment: memoryview) -> None:
        """Append; once refused, the rest is dropped."""
        self.size += len(fragment)
        if self._incoming is None:
            return
        try:
            self._incoming.write(fragment)
        except Refusal as refusal:
            self._refuse(refusal)

    def keep(self, *, calling_ae: str, called_ae: str) -> Received:
        """Check the data set against the command and make it durable. Raises Refusal."""
        if self._incoming is None:
            raise self._refusal or StoreUnavailable()
        header = read_header(self._incoming.path)
        if header.sop_class_uid != self._sop_class:
            raise ClassMismatch
        if header.sop_instance_uid != self._sop_instance:
            raise InstanceMismatch
        stored = self._incoming.commit()
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
