"""A Part 10 file that comes piece by piece, as a request by web brings it (PS3.18 10.5): kept as a C-STORE would be.

Its file meta information stands where a C-STORE has its command and presentation context.
"""

from io import BytesIO

from pydicom.dataset import Dataset

from dicom_gateway.contexts import is_storage
from dicom_gateway.errors import ClassNotServed, Malformed, MissingIdentifier, Refusal
from dicom_gateway.options import Received
from dicom_gateway.other_objects import LOOK, OtherObject, look
from dicom_gateway.part10 import at_dataset
from dicom_gateway.spool import Spool
from dicom_gateway.store import Store
from dicom_gateway.values import one_uid

META_LIMIT = 64 << 10
"""Most bytes of a preamble and its file meta information; some hundreds are usual."""


class PushedFile:
    """One file, in pieces of any size. Ends with `keep` and `discard`, or with `discard` alone."""

    def __init__(
        self, spool: Spool, *, keep_other_objects: bool, study: str = "", refusal: Refusal | None = None
    ) -> None:
        """
        Args:
            study: see `Store`.
            refusal: what speaks against it before its first byte.
        """
        self.sop_class_uid = self.sop_instance_uid = ""
        """What it says it is; "" as long as that is not known."""
        self._spool = spool
        self._keep_other_objects = keep_other_objects
        self._study = study
        self._head = bytearray()
        self._store: Store | None = None
        self._refusal = refusal

    @property
    def size(self) -> int:
        """Bytes of its data set so far."""
        return self._store.size if self._store else 0

    def write(self, piece: bytes | memoryview) -> None:
        """Append; once refused, the rest is dropped."""
        if self._store:
            self._store.write(memoryview(piece))
        elif not self._refusal:
            self._head += piece
            if len(self._head) >= META_LIMIT + LOOK:
                self._begin()

    def keep(self, *, calling_ae: str, called_ae: str) -> Received | OtherObject:
        """It is whole: check it and make it durable. Raises Refusal, for the same reasons as a C-STORE of it."""
        self.know()
        if self._store is None:
            raise self._refusal or Malformed()
        return self._store.keep(calling_ae=calling_ae, called_ae=called_ae)

    def know(self) -> None:
        """Nothing more comes: read of what is here which instance it is."""
        if not self._store and not self._refusal:
            self._begin()

    def discard(self) -> None:
        """Remove what came; a film that was kept stays."""
        if self._store:
            self._store.discard()

    def _begin(self) -> None:
        stream = BytesIO(self._head)
        try:
            syntax = self._read_meta(stream)
        except Refusal as refusal:
            self._refusal = refusal
            return
        command = Dataset()
        command.AffectedSOPClassUID, command.AffectedSOPInstanceUID = self.sop_class_uid, self.sop_instance_uid
        context = (self.sop_class_uid, syntax)
        self._store = Store(
            command, context, self._spool, keep_other_objects=self._keep_other_objects, study=self._study
        )
        self._store.begin(has_data=True)
        if rest := stream.read():
            self._store.write(memoryview(rest))
        self._head.clear()

    def _read_meta(self, stream: BytesIO) -> str:
        """The transfer syntax; leaves the stream at the start of the data set. Raises Refusal."""
        meta = at_dataset(stream)
        start, syntax = stream.tell(), one_uid(meta, "TransferSyntaxUID")
        if start > META_LIMIT or not syntax:
            raise Malformed
        found = look(stream.read(LOOK), syntax)
        stream.seek(start)
        self.sop_class_uid = one_uid(meta, "MediaStorageSOPClassUID") or found.sop_class_uid
        self.sop_instance_uid = one_uid(meta, "MediaStorageSOPInstanceUID") or found.sop_instance_uid
        if not self.sop_class_uid or not self.sop_instance_uid:
            raise MissingIdentifier
        if not is_storage(self.sop_class_uid):
            raise ClassNotServed
        return syntax
