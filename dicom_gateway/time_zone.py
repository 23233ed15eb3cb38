"""The time zone of an object's dates and times."""

from datetime import datetime, timedelta, timezone

from pydicom.dataset import Dataset

from dicom_gateway.values import text


def in_zone_of(film: Dataset, at: datetime) -> datetime:
    """In the film's time zone where it names one (0008,0201), which then holds for every time of the object."""
    offset = text(film, "TimezoneOffsetFromUTC")
    if len(offset) == 5 and offset[0] in "+-" and offset[1:].isascii() and offset[1:].isdigit():
        minutes = int(offset[1:3]) * 60 + int(offset[3:])
        if minutes <= 14 * 60:
            return at.astimezone(timezone(timedelta(minutes=-minutes if offset[0] == "-" else minutes)))
    return at
