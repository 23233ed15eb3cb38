"""Films in any transfer syntax we decode, for demonstrations and tests.

Pixels are coded by imagecodecs and pylibjpeg-rle, not by a PACS.
"""

import hashlib
from collections.abc import Callable
from copy import deepcopy
from pathlib import Path

import cv2
import imagecodecs
import numpy as np
from pydicom import uid
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.encaps import encapsulate
from rle.utils import encode_frame as encode_rle_frame

from dicom_gateway.contexts import SYNTAX_BY_UID
from dicom_gateway.stored import Pixels
from dicom_gateway.uids import derived_uid as derived_uid

BITS_OF_LOSSY_JPEG = {uid.JPEGBaseline8Bit: 8, uid.JPEGExtended12Bit: 12}


def in_syntax(source: Dataset, syntax_uid: str) -> Dataset:
    """A copy of an uncompressed grayscale film, with its own SOP Instance UID, coded in another transfer syntax.

    Lossy JPEG has 8 or 12 bits: there the stored values and the window are scaled down.
    """
    film = Dataset()  # not a FileDataset: those refuse another byte order
    film.update(deepcopy(source))
    film.SOPInstanceUID = derived_uid(str(source.SOPInstanceUID), syntax_uid)
    film.file_meta = FileMetaDataset()
    film.file_meta.TransferSyntaxUID = uid.UID(syntax_uid)
    codec = SYNTAX_BY_UID[syntax_uid].codec
    pixels = source.pixel_array
    if codec == "raw":
        if syntax_uid == uid.ExplicitVRBigEndian:
            film.PixelData = pixels.astype(pixels.dtype.newbyteorder(">")).tobytes() + b"\0" * (pixels.nbytes % 2)
            film["PixelData"].VR = "OW" if pixels.itemsize > 1 else "OB"  # bytes in OW would have to be swapped
        return film
    if bits := BITS_OF_LOSSY_JPEG.get(uid.UID(syntax_uid)):
        pixels = _scale_down(film, pixels, bits)
    film.PixelData = encapsulate([ENCODERS[syntax_uid](pixels, int(film.BitsStored))])
    film["PixelData"].VR = "OB"
    film["PixelData"].is_undefined_length = True
    return film


def save(film: Dataset, path: Path) -> Path:
    """Write as a Part 10 file in its transfer syntax."""
    syntax = film.file_meta.TransferSyntaxUID
    film.save_as(
        path,
        implicit_vr=syntax.is_implicit_VR,
        little_endian=syntax.is_little_endian,
        enforce_file_format=True,
    )
    return path


def wrap_image(path: Path) -> Dataset:
    """A PNG or JPEG as a DX image for presentation, called a PA chest film. Raises ValueError when it is neither.

    The UIDs follow from the file's content, so the same picture is the same instance.
    """
    content = path.read_bytes()
    pixels = cv2.imdecode(np.frombuffer(content, np.uint8), cv2.IMREAD_GRAYSCALE | cv2.IMREAD_ANYDEPTH)
    if pixels is None or pixels.dtype not in (np.uint8, np.uint16):
        raise ValueError(f"{path.name} is not a readable PNG or JPEG")
    digest = hashlib.sha256(content).hexdigest()
    bits = pixels.dtype.itemsize * 8
    film = Dataset()
    film.SOPClassUID = uid.DigitalXRayImageStorageForPresentation
    film.SOPInstanceUID = derived_uid("instance", digest)
    film.SeriesInstanceUID = derived_uid("series", digest)
    film.StudyInstanceUID = derived_uid("study", digest)
    film.Modality, film.BodyPartExamined, film.ViewPosition = "DX", "CHEST", "PA"
    film.PatientName = film.PatientID = ""
    film.SamplesPerPixel, film.PhotometricInterpretation, film.PixelRepresentation = 1, "MONOCHROME2", 0
    film.Rows, film.Columns = pixels.shape
    film.BitsAllocated = film.BitsStored = bits
    film.HighBit = bits - 1
    film.WindowCenter, film.WindowWidth = 1 << bits - 1, 1 << bits  # all of it, as a picture is shown
    film.PixelData = pixels.tobytes() + b"\0" * (pixels.nbytes % 2)
    film["PixelData"].VR = "OW"
    film.file_meta = FileMetaDataset()
    film.file_meta.TransferSyntaxUID = uid.ExplicitVRLittleEndian
    return film


def _scale_down(film: Dataset, pixels: Pixels, bits: int) -> Pixels:
    shift = max(int(film.BitsStored) - bits, 0)
    film.BitsStored, film.HighBit, film.BitsAllocated = bits, bits - 1, 8 if bits == 8 else 16
    if shift and "WindowWidth" in film:
        film.WindowCenter, film.WindowWidth = (
            float(film.WindowCenter) / (1 << shift),
            max(1.0, float(film.WindowWidth) / (1 << shift)),
        )
    return np.right_shift(pixels, shift).astype(np.uint8 if bits == 8 else np.uint16)


def _rle(pixels: Pixels, _: int) -> bytes:
    """By pylibjpeg-rle: pydicom's own encoder needs 2.6 s for a film of 1,955 x 1,841, this one 0.02 s."""
    rows, columns = pixels.shape
    return bytes(encode_rle_frame(pixels.tobytes(), rows, columns, 1, 8 * pixels.itemsize, "<"))


def _jpeg(pixels: Pixels, bits: int) -> bytes:
    return bytes(imagecodecs.jpeg8_encode(pixels, level=95, bitspersample=bits))


def _lossless_jpeg(predictor: int) -> Callable[[Pixels, int], bytes]:
    def encode(pixels: Pixels, bits: int) -> bytes:
        return bytes(imagecodecs.jpeg8_encode(pixels, lossless=True, bitspersample=bits, predictor=predictor))

    return encode


ENCODERS: dict[str, Callable[[Pixels, int], bytes]] = {
    uid.RLELossless: _rle,
    uid.JPEGBaseline8Bit: _jpeg,
    uid.JPEGExtended12Bit: _jpeg,
    uid.JPEGLossless: _lossless_jpeg(4),
    uid.JPEGLosslessSV1: _lossless_jpeg(1),
    uid.JPEGLSLossless: lambda pixels, _: bytes(imagecodecs.jpegls_encode(pixels)),
    uid.JPEGLSNearLossless: lambda pixels, _: bytes(imagecodecs.jpegls_encode(pixels, level=2)),
    uid.JPEG2000Lossless: lambda pixels, bits: bytes(
        imagecodecs.jpeg2k_encode(pixels, codecformat="j2k", reversible=True, bitspersample=bits)
    ),
    uid.JPEG2000: lambda pixels, bits: bytes(
        imagecodecs.jpeg2k_encode(pixels, codecformat="j2k", reversible=False, level=60, bitspersample=bits)
    ),
    uid.HTJ2KLossless: lambda pixels, _: bytes(imagecodecs.htj2k_encode(pixels, reversible=True)),
    uid.HTJ2KLosslessRPCL: lambda pixels, _: bytes(imagecodecs.htj2k_encode(pixels, reversible=True)),
    uid.HTJ2K: lambda pixels, _: bytes(imagecodecs.htj2k_encode(pixels, reversible=False, level=0.0005)),
}
