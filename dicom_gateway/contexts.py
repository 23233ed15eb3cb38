"""What the SCP accepts: SOP classes (PS3.4 B.5, PS3.6) and transfer syntaxes (PS3.5 section 8 and 10), as tables."""

from collections.abc import Collection
from dataclasses import dataclass

from pydicom import uid

VERIFICATION = "1.2.840.10008.1.1"

STORAGE_CLASSES: dict[str, str] = {
    uid.ComputedRadiographyImageStorage: "CR",
    uid.DigitalXRayImageStorageForPresentation: "DX for presentation",
    uid.DigitalXRayImageStorageForProcessing: "DX for processing",
    uid.SecondaryCaptureImageStorage: "secondary capture",
}


@dataclass(frozen=True)
class TransferSyntax:
    """One row of the table."""

    uid: str
    name: str
    codec: str
    """How pixels are coded: raw, rle, jpeg, jpegls, jpeg2k or htj2k."""
    lossy: bool = False


# In order of preference: what costs the least to decode first.
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


UNCOMPRESSED = {str(uid.ExplicitVRLittleEndian), str(uid.ImplicitVRLittleEndian), str(uid.ExplicitVRBigEndian)}


def choose(sop_class: str, offered: Collection[str]) -> str | None:
    """The transfer syntax for a proposed presentation context (PS3.8 9.3.2).

    Args:
        sop_class: its abstract syntax, "" where it has none.

    Returns:
        None where the class is not served, "" where no transfer syntax is that is offered.
    """
    if sop_class == VERIFICATION:
        return next((one for one in SYNTAX_BY_UID if one in offered and one in UNCOMPRESSED), "")
    if sop_class not in STORAGE_CLASSES:
        return None
    return next((one for one in SYNTAX_BY_UID if one in offered), "")
