"""The DICOM objects of a result. All that is sent comes through here."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydicom.dataset import Dataset

from dicom_gateway.result import FilmResult

Make = Callable[[FilmResult, Path], list[Dataset]]
"""From a result and its film's file to objects with `file_meta.TransferSyntaxUID`: for the same arguments the same
bytes under the same UIDs, so that one that is sent twice is one at the destination."""
Shown = tuple[NDArray[np.uint8], Any]
"""What a secondary capture shows: the film as displayed, uint8 [rows, columns], and the same with the network's map
over it, or None."""


def maker(shown: Callable[[FilmResult, Path], Shown] | None = None) -> Make:
    """A structured report of each film, and of one that was analysed a secondary capture.

    Args:
        shown: decodes the film and draws the map; None: there are no secondary captures.
    """

    def make(result: FilmResult, film: Path) -> list[Dataset]:
        from dicom_gateway.structured_report import structured_report  # type: ignore[import-untyped]

        made = [structured_report(result)]
        if shown and result.not_analysed is None:
            from dicom_gateway.secondary_capture import secondary_capture  # type: ignore[import-untyped]

            made.append(secondary_capture(result, *shown(result, film)))
        return made

    return make
