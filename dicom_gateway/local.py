"""Files that are already here into the spool, as if a peer had sent them."""

from pathlib import Path

from dicom_gateway.contexts import STORAGE_CLASSES, SYNTAX_BY_UID
from dicom_gateway.errors import ClassMismatch, Malformed
from dicom_gateway.header import read_header
from dicom_gateway.options import Received
from dicom_gateway.part10 import dataset_offset, encode_meta
from dicom_gateway.spool import Spool

CHUNK = 1 << 20
LOCAL_AE = "LOCAL"


def store_file(path: Path, spool: Spool, ae_title: str) -> Received:
    """Copy one Part 10 file into the spool, durably, under a fresh file meta header as the SCP writes it.

    Raises:
        Refusal: the same refusals, for the same reasons, as a C-STORE of this file.
    """
    header = read_header(path)
    if header.sop_class_uid not in STORAGE_CLASSES:
        raise ClassMismatch
    if header.transfer_syntax_uid not in SYNTAX_BY_UID:
        raise Malformed
    incoming = spool.open()
    try:
        incoming.write(encode_meta(header.sop_class_uid, header.sop_instance_uid, header.transfer_syntax_uid))
        with path.open("rb") as handle:
            handle.seek(dataset_offset(handle))
            while chunk := handle.read(CHUNK):
                incoming.write(chunk)
        stored = incoming.commit()
    finally:
        incoming.discard()
    return Received(
        header=header,
        digest=stored.digest,
        path=stored.path,
        size=stored.size,
        calling_ae=LOCAL_AE,
        called_ae=ae_title,
        fresh=stored.fresh,
    )
