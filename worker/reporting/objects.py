"""The DICOM objects of a result. All that is sent comes through here."""

from collections.abc import Callable
from pathlib import Path
from typing import Protocol

from pydicom.dataset import Dataset

from dicom_gateway.capture_frames import DrawnMap
from dicom_gateway.picture import Picture
from dicom_gateway.result import FilmResult


class Make(Protocol):
    """From a result and its film's file to objects with `file_meta.TransferSyntaxUID`: under UIDs that follow from the
    result, so that one that is sent twice is one at the destination. The same arguments give the same bytes on one
    installation; another version of a library may draw a letter or add up a map a little differently."""

    def __call__(self, result: FilmResult, film: Path, *, picture: bool) -> list[Dataset]:
        """
        Args:
            picture: with the secondary capture. Without it the report is the same.

        Raises Undelivered, with NO_PICTURE or NO_BUNDLE where only the picture cannot be had now.
        """


Shown = tuple[Picture, DrawnMap | None]
"""What a secondary capture shows."""


def maker(shown: Callable[[FilmResult, Path], Shown] | None) -> Make:
    """A structured report of each film, and of one that was analysed a secondary capture.

    Args:
        shown: decodes the film and draws the map; None: no secondary captures.
    """

    def make(result: FilmResult, film: Path, *, picture: bool) -> list[Dataset]:
        from dicom_gateway.structured_report import structured_report

        made = [structured_report(result)]
        if picture and shown and result.not_analysed is None:
            from dicom_gateway.secondary_capture import secondary_capture

            made.append(secondary_capture(result, *shown(result, film)))
        return made

    return make
