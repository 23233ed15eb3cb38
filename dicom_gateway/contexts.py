"""What the SCP accepts: SOP classes (PS3.4 B.5, PS3.6) and transfer syntaxes (PS3.5 section 8 and 10), as tables.

A PACS sends whole studies: every storage class is accepted, in every transfer syntax. Only some can be a film.
"""

from collections.abc import Iterable
from dataclasses import dataclass

from pydicom import uid
from pydicom._uid_dict import UID_dictionary
from pynetdicom.presentation import PresentationContext, build_context, negotiate_as_acceptor

from dicom_gateway.header import is_valid_uid

VERIFICATION = "1.2.840.10008.1.1"
NO_TRANSFER_SYNTAX = 0x04
"""Result of a presentation context (PS3.8 Table 9-18)."""

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


NO_STORAGE = ("Storage Commitment", "Media Storage Directory")
"""What has the word in its name, and is not sent by C-STORE."""
UNCOMPRESSED = (uid.ExplicitVRLittleEndian, uid.ImplicitVRLittleEndian, uid.ExplicitVRBigEndian)


def is_storage(sop_class: str) -> bool:
    """Whether a SOP class is stored by C-STORE: all but those that the standard's dictionary (PS3.6 A) knows as another
    service, such as query, worklist, print or storage commitment. So are unknown and private ones.
    """
    if not is_valid_uid(sop_class):
        return False
    name, kind, *_ = UID_dictionary.get(sop_class, ("", ""))
    if not name:  # unknown, private, or reserved in the dictionary
        return kind in ("", "SOP Class")
    return kind == "SOP Class" and "Storage" in name and not any(one in name for one in NO_STORAGE)


def negotiate(proposed: Iterable[PresentationContext]) -> list[PresentationContext]:
    """The answer to each proposed presentation context (PS3.8 9.3.2, 9.3.3), by itself.

    Of its transfer syntaxes the first, in the peer's order, that we decode is taken, else the first.
    """
    return [_answer(one) for one in proposed]


def _answer(proposed: PresentationContext) -> PresentationContext:
    if proposed.transfer_syntax:
        return negotiate_as_acceptor([proposed], _supported(proposed))[0][0]
    refused = PresentationContext()
    refused.context_id, refused.abstract_syntax = proposed.context_id, proposed.abstract_syntax
    refused.result = NO_TRANSFER_SYNTAX
    refused.transfer_syntax = [uid.ImplicitVRLittleEndian]  # there must be one, and it says nothing (PS3.8 9.3.3.2)
    return refused


def _supported(proposed: PresentationContext) -> list[PresentationContext]:
    """What pynetdicom may choose of for this context."""
    sop_class = str(proposed.abstract_syntax or "")
    if sop_class == VERIFICATION:
        return [build_context(VERIFICATION, list(UNCOMPRESSED))]
    if not is_storage(sop_class):
        return []
    offered = [str(one) for one in proposed.transfer_syntax if is_valid_uid(str(one))]
    wanted = [one for one in offered if one in SYNTAX_BY_UID] or offered[:1] or list(SYNTAX_BY_UID)
    return [build_context(sop_class, list(wanted))]
