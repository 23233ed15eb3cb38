"""JPEG 2000 by OpenJPEG, in full or at a lower resolution, with an ear for what it complains of.

A wavelet level left out halves each side and most of the time, and a network that sees 224 x 224 pixels does not need
the other ten million. imagecodecs cannot leave levels out, and Pillow, which can, does not hand warnings on. So the
library that imagecodecs is linked with is called here (openjpeg.h; its structures have not changed since 2.0).

Of a code-block OpenJPEG only asks whether its bytes were used up where the stream promises that they can be told
("predictable termination", ITU T.800 D.4.2). It is asked of every stream here, by setting that promise: the pixels do
not depend on it. A damaged byte leads the arithmetic decoder astray, and then it needs many bytes more or fewer.
"""

import ctypes
import importlib
import os
import re
from functools import cache

import numpy as np
from numpy.typing import NDArray

from dicom_gateway.codestream import COC, COD, main_header
from dicom_gateway.errors import CorruptPixels

CODESTREAM = 0  # OPJ_CODEC_J2K
PARAMETERS_SIZE = 1 << 15  # of opj_dparameters_t, amply; its first field is the number of levels to leave out
BUFFER = 1 << 20
PREDICTABLE = 0x10  # of the code-block style (ITU T.800 Table A.19)
TERMINATION = re.compile(rb"PTERM check failure: (\d+) ")
BYTES_ASTRAY = 8
"""A code-block may leave or lack that many bytes: encoders cut it off with a little to spare."""

MESSAGE = ctypes.CFUNCTYPE(None, ctypes.c_char_p, ctypes.c_void_p)


class Component(ctypes.Structure):
    """opj_image_comp_t"""

    _fields_ = [
        *[(name, ctypes.c_uint32) for name in ("dx", "dy", "w", "h", "x0", "y0")],
        *[(name, ctypes.c_uint32) for name in ("precision", "bpp", "signed", "resolutions", "factor")],
        ("data", ctypes.POINTER(ctypes.c_int32)),
        ("alpha", ctypes.c_uint16),
    ]


class Image(ctypes.Structure):
    """opj_image_t"""

    _fields_ = [
        *[(name, ctypes.c_uint32) for name in ("x0", "y0", "x1", "y1", "components", "color_space")],
        ("comps", ctypes.POINTER(Component)),
    ]


@cache
def library() -> ctypes.CDLL | None:
    """OpenJPEG by way of the extension that is linked with it; None where it cannot be reached so."""
    try:
        found = ctypes.CDLL(importlib.import_module("imagecodecs._jpeg2k").__file__)
        for name in ("opj_create_decompress", "opj_stream_create_file_stream"):
            getattr(found, name).restype = ctypes.c_void_p
    except (ImportError, OSError, AttributeError):
        return None
    return found


def decode(encoded: bytes, halvings: int = 0) -> NDArray[np.generic]:
    """Decode a codestream of one component.

    Args:
        encoded: from SOC on, without a JP2 box.
        halvings: wavelet levels to leave out.

    Returns:
        [rows, columns] of the smallest integer type of 8 or 16 bits that holds the stream's precision and sign.

    Raises:
        CorruptPixels: OpenJPEG refuses it, or complains.
    """
    opj = library()
    assert opj is not None
    complaints: list[bytes] = []
    listen = MESSAGE(lambda text, _: complaints.append(text))
    parameters = ctypes.create_string_buffer(PARAMETERS_SIZE)
    image = ctypes.POINTER(Image)()
    file = os.memfd_create("film")
    codec = stream = None
    try:
        os.write(file, with_predictable_termination(encoded))
        codec = ctypes.c_void_p(opj.opj_create_decompress(CODESTREAM))
        opj.opj_set_warning_handler(codec, listen, None)
        opj.opj_set_error_handler(codec, listen, None)
        opj.opj_set_default_decoder_parameters(parameters)
        ctypes.c_uint32.from_buffer(parameters).value = halvings
        path = f"/proc/self/fd/{file}".encode()
        stream = ctypes.c_void_p(opj.opj_stream_create_file_stream(path, ctypes.c_size_t(BUFFER), 1))
        whole = (
            opj.opj_setup_decoder(codec, parameters)
            and opj.opj_read_header(stream, codec, ctypes.byref(image))
            and opj.opj_decode(codec, stream, image)
            and opj.opj_end_decompress(codec, stream)
        )
        if not whole or any(map(_is_damage, complaints)) or image.contents.components != 1:
            raise CorruptPixels
        return _pixels(image.contents.comps[0])
    finally:
        os.close(file)
        if stream:
            opj.opj_stream_destroy(stream)
        if codec:
            opj.opj_destroy_codec(codec)
        if image:
            opj.opj_image_destroy(image)


def with_predictable_termination(encoded: bytes) -> bytes:
    """The codestream with PREDICTABLE set in each COD and COC of its main header (ITU T.800 A.6)."""
    changed = bytearray(encoded)
    for marker, position in main_header(encoded):
        if marker == COD:
            changed[position + 12] |= PREDICTABLE
        elif marker == COC:
            changed[position + 9] |= PREDICTABLE  # one byte for the component, of fewer than 257
    return bytes(changed)


def _is_damage(complaint: bytes) -> bool:
    found = TERMINATION.match(complaint)
    return found is None or int(found[1]) > BYTES_ASTRAY


def _pixels(component: Component) -> NDArray[np.generic]:
    if not component.data or component.precision > 16:
        raise CorruptPixels
    values = np.ctypeslib.as_array(component.data, (component.h, component.w))
    return values.astype(f"{'i' if component.signed else 'u'}{1 if component.precision <= 8 else 2}")
