"""Arrays to PNG files. The settings were chosen by measurement: README.md."""

import cv2
import numpy as np
from numpy.typing import NDArray

Settings = tuple[int, ...]
GREY: Settings = (cv2.IMWRITE_PNG_COMPRESSION, 1, cv2.IMWRITE_PNG_STRATEGY, cv2.IMWRITE_PNG_STRATEGY_RLE)
COLOUR: Settings = (cv2.IMWRITE_PNG_COMPRESSION, 1, cv2.IMWRITE_PNG_STRATEGY, cv2.IMWRITE_PNG_STRATEGY_DEFAULT)


def to_png(picture: NDArray[np.uint8]) -> bytes:
    """uint8 [rows, columns] grey, or [rows, columns, 4] RGBA."""
    if picture.ndim == 2:
        return _encoded(picture, GREY)
    return _encoded(np.asarray(cv2.cvtColor(picture, cv2.COLOR_RGBA2BGRA), np.uint8), COLOUR)


def _encoded(picture: NDArray[np.uint8], settings: Settings) -> bytes:
    done, encoded = cv2.imencode(".png", picture, settings)
    if not done:  # it fails for want of memory alone
        raise MemoryError
    return encoded.tobytes()
