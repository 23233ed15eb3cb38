"""Arrays to PNG files."""

import cv2
import numpy as np
from numpy.typing import NDArray

LEVEL = 1


def to_png(picture: NDArray[np.uint8]) -> bytes:
    """uint8 [rows, columns] grey, or [rows, columns, 4] RGBA."""
    if picture.ndim == 3:
        picture = np.asarray(cv2.cvtColor(picture, cv2.COLOR_RGBA2BGRA), np.uint8)
    done, encoded = cv2.imencode(".png", picture, [cv2.IMWRITE_PNG_COMPRESSION, LEVEL])
    if not done:
        raise MemoryError
    return encoded.tobytes()
