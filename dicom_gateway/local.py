"""Files that are already here into the spool, as if a peer had sent them."""

from dataclasses import replace
from pathlib import Path

from dicom_gateway.contexts import FILM_CLASSES, is_storage
from dicom_gateway.errors import ClassMismatch
from dicom_gateway.header import read_header
from dicom_gateway.options import Received
from dicom_gateway.other_objects import LOOK, DataSetStart, OtherObject, Passed, Passing, look
from dicom_gateway.part10 import at_dataset, encode_meta
from dicom_gateway.spool import Incoming, Spool, Stored
from dicom_gateway.values import one_uid

CHUNK = 1 << 20
LOCAL_AE = "LOCAL"


def store_file(path: Path, spool: Spool, ae_title: str, *, keep_other_objects: bool = False) -> Received | OtherObject:
    """Copy one Part 10 file into the spool, durably, under a fresh file meta header as the SCP writes it.

    What can never be a film is read, and copied only with `keep_other_objects`.

    Raises:
        Refusal: the same refusals, for the same reasons, as a C-STORE of this file.
    """
    with path.open("rb") as handle:
        meta = at_dataset(handle)
        syntax = str(meta.TransferSyntaxUID)
        found = look(handle.read(LOOK), syntax)
    # A command always names the instance; here the file meta does where a short look does not find it.
    named = found.sop_instance_uid or one_uid(meta, "MediaStorageSOPInstanceUID")
    if found.sop_class_uid and not is_storage(found.sop_class_uid):
        raise ClassMismatch
    if found.sop_class_uid and named and found.sop_class_uid not in FILM_CLASSES:
        return _other(
            path, replace(found, sop_instance_uid=named), syntax, spool if keep_other_objects else None, ae_title
        )
    header = read_header(path, most_inflated=spool.max_bytes)
    if header.sop_class_uid not in FILM_CLASSES:
        raise ClassMismatch  # it names a class, and not where one looks for it
    incoming = spool.open()
    try:
        _copy(path, (header.sop_class_uid, header.sop_instance_uid, syntax), incoming)
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


def _other(path: Path, found: DataSetStart, syntax: str, spool: Spool | None, ae_title: str) -> OtherObject:
    incoming = spool.open() if spool else Passing()
    try:
        _copy(path, (found.sop_class_uid, found.sop_instance_uid, syntax), incoming)
        stored: Stored | Passed = incoming.commit()
    finally:
        incoming.discard()
    return OtherObject(
        sop_class_uid=found.sop_class_uid,
        sop_instance_uid=found.sop_instance_uid,
        transfer_syntax_uid=syntax,
        study_instance_uid=found.study_instance_uid,
        series_instance_uid=found.series_instance_uid,
        modality=found.modality,
        digest=stored.digest,
        size=stored.size,
        path=stored.path,
        calling_ae=LOCAL_AE,
        called_ae=ae_title,
        fresh=stored.fresh,
    )


def _copy(path: Path, meta: tuple[str, str, str], incoming: Incoming | Passing) -> None:
    """`meta`: arguments of `encode_meta`."""
    incoming.write(encode_meta(*meta))
    with path.open("rb") as handle:
        at_dataset(handle)
        while chunk := handle.read(CHUNK):
            incoming.write(chunk)
