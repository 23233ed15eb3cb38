"""What the SCP accepts: SOP classes (PS3.4 B.5, PS3.6) and transfer syntaxes (PS3.5 section 8 and 10), as tables.

A PACS sends whole studies: every storage class is accepted, in every transfer syntax. Only some can be a film.
"""

from collections.abc import Collection
from dataclasses import dataclass

from pydicom import uid

from dicom_gateway.values import is_valid_uid

VERIFICATION = "1.2.840.10008.1.1"
STORAGE_COMMITMENT = "1.2.840.10008.1.20.1"
STUDY_ROOT_FIND = "1.2.840.10008.5.1.4.1.2.2.1"
STUDY_ROOT_MOVE = "1.2.840.10008.5.1.4.1.2.2.2"
STUDY_ROOT_GET = "1.2.840.10008.5.1.4.1.2.2.3"

FILM_CLASSES: dict[str, str] = {
    uid.ComputedRadiographyImageStorage: "CR",
    uid.DigitalXRayImageStorageForPresentation: "DX for presentation",
    uid.DigitalXRayImageStorageForProcessing: "DX for processing",
    uid.SecondaryCaptureImageStorage: "secondary capture",
    uid.MultiFrameGrayscaleByteSecondaryCaptureImageStorage: "secondary capture, frames of bytes",
    uid.MultiFrameGrayscaleWordSecondaryCaptureImageStorage: "secondary capture, frames of words",
}
"""SOP classes whose instances may be a chest film. Any other is received, and never scored."""


@dataclass(frozen=True)
class TransferSyntax:
    """One row of the table."""

    uid: str
    name: str
    codec: str
    """How pixels are coded: raw, rle, jpeg, jpegls, jpeg2k or htj2k."""
    lossy: bool = False


# Uncompressed, lossless, lossy. Which one is taken is the order of the peer: see `choose_syntax`.
TRANSFER_SYNTAXES: tuple[TransferSyntax, ...] = (
    TransferSyntax(uid.ExplicitVRLittleEndian, "Explicit VR Little Endian", "raw"),
    TransferSyntax(uid.ImplicitVRLittleEndian, "Implicit VR Little Endian", "raw"),
    TransferSyntax(uid.ExplicitVRBigEndian, "Explicit VR Big Endian", "raw"),
    TransferSyntax(uid.DeflatedExplicitVRLittleEndian, "Deflated Explicit VR Little Endian", "raw"),
    TransferSyntax(uid.RLELossless, "RLE Lossless", "rle"),
    TransferSyntax(uid.JPEGLosslessSV1, "JPEG Lossless SV1", "jpeg"),
    TransferSyntax(uid.JPEGLossless, "JPEG Lossless", "jpeg"),
    TransferSyntax(uid.HTJ2KLossless, "HTJ2K Lossless", "htj2k"),
    TransferSyntax(uid.HTJ2KLosslessRPCL, "HTJ2K Lossless RPCL", "htj2k"),
    TransferSyntax(uid.JPEGLSLossless, "JPEG-LS Lossless", "jpegls"),
    TransferSyntax(uid.JPEG2000Lossless, "JPEG 2000 Lossless", "jpeg2k"),
    TransferSyntax(uid.JPEGBaseline8Bit, "JPEG Baseline", "jpeg", lossy=True),
    TransferSyntax(uid.JPEGExtended12Bit, "JPEG Extended", "jpeg", lossy=True),
    TransferSyntax(uid.JPEGLSNearLossless, "JPEG-LS Near-lossless", "jpegls", lossy=True),
    TransferSyntax(uid.HTJ2K, "HTJ2K", "htj2k", lossy=True),
    TransferSyntax(uid.JPEG2000, "JPEG 2000", "jpeg2k", lossy=True),
)
SYNTAX_BY_UID: dict[str, TransferSyntax] = {str(syntax.uid): syntax for syntax in TRANSFER_SYNTAXES}


NO_STORAGE = ("Storage Commitment", "Media Storage Directory")
"""What has the word in its name, and is not sent by C-STORE."""
UNCOMPRESSED = {str(uid.ExplicitVRLittleEndian), str(uid.ImplicitVRLittleEndian), str(uid.ExplicitVRBigEndian)}


def is_storage(sop_class: str) -> bool:
    """Whether a SOP class is stored by C-STORE: all but those that the standard's dictionary (PS3.6 A) knows as another
    service, such as query, worklist, print or storage commitment. So are unknown and private ones.
    """
    if not is_valid_uid(sop_class):
        return False
    known = uid.UID(sop_class)
    name, kind = known.name, known.type
    if name in ("", sop_class):  # reserved in the dictionary, or unknown or private
        return kind in ("", "SOP Class")
    return kind == "SOP Class" and "Storage" in name and not any(word in name for word in NO_STORAGE)


def choose_syntax(sop_class: str, offered: Collection[str], *, commitment: bool = False) -> str | None:
    """The transfer syntax for a proposed presentation context (PS3.8 9.3.2): of those offered the first, in the peer's
    order, that we decode; else the first.

    Args:
        sop_class: its abstract syntax, "" where it has none.
        commitment: storage commitment is served.

    Returns:
        None where the class is not served, "" where no transfer syntax is that is offered.
    """
    if sop_class == VERIFICATION or (commitment and sop_class == STORAGE_COMMITMENT):
        return next((syntax for syntax in offered if syntax in UNCOMPRESSED), "")
    if not is_storage(sop_class):
        return None
    return next((syntax for syntax in offered if syntax in SYNTAX_BY_UID), next(iter(offered), ""))
