"""Files that are already here into the spool, as if a peer had sent them."""

from pathlib import Path

from dicom_gateway.contexts import FILM_CLASSES, is_storage
from dicom_gateway.errors import ClassMismatch
from dicom_gateway.header import Header, read_header
from dicom_gateway.options import Received
from dicom_gateway.other_objects import OtherObject, Passing
from dicom_gateway.part10 import dataset_offset, encode_meta
from dicom_gateway.spool import Incoming, Spool

CHUNK = 1 << 20
LOCAL_AE = "LOCAL"


def store_file(path: Path, spool: Spool, ae_title: str, *, keep_other_objects: bool = False) -> Received | OtherObject:
    """Copy one Part 10 file into the spool, durably, under a fresh file meta header as the SCP writes it.

    What can never be a film is read, and copied only with `keep_other_objects`.

    Raises:
        Refusal: the same refusals, for the same reasons, as a C-STORE of this file. Here other objects are parsed too.
    """
    header = read_header(path, most_inflated=spool.max_bytes)
    if not is_storage(header.sop_class_uid):
        raise ClassMismatch
    film = header.sop_class_uid in FILM_CLASSES
    incoming = spool.open() if film or keep_other_objects else Passing()
    try:
        _copy(path, header, incoming)
        stored = incoming.commit()
    finally:
        incoming.discard()
    if film and stored.path:
        return Received(
            header=header,
            digest=stored.digest,
            path=stored.path,
            size=stored.size,
            calling_ae=LOCAL_AE,
            called_ae=ae_title,
            fresh=stored.fresh,
        )
    return OtherObject(
        sop_class_uid=header.sop_class_uid,
        sop_instance_uid=header.sop_instance_uid,
        transfer_syntax_uid=header.transfer_syntax_uid,
        study_instance_uid=header.study_instance_uid,
        series_instance_uid=header.series_instance_uid,
        modality=header.modality,
        digest=stored.digest,
        size=stored.size,
        path=stored.path,
        calling_ae=LOCAL_AE,
        called_ae=ae_title,
        fresh=stored.fresh,
    )


def _copy(path: Path, header: Header, incoming: Incoming | Passing) -> None:
    incoming.write(encode_meta(header.sop_class_uid, header.sop_instance_uid, header.transfer_syntax_uid))
    with path.open("rb") as handle:
        handle.seek(dataset_offset(handle))
        while chunk := handle.read(CHUNK):
            incoming.write(chunk)
