"""What a PACS says that it has: studies of a window, series of a study, images of a series (PS3.4 C.6.2.1).

No attribute of a patient is asked for, and what a PACS sends beyond the keys is not read. Nor is a match believed: a
PACS may ignore a key, send studies of another day, or what is no UID. Series and images are asked for with the UIDs of
the levels above, for many take no other question.

    it says that it has more than it sends      the window is halved until each part is whole
    it sends MANY matches or more, and success  the halves are asked too: some cut the list at 100, 500 or 1,000
"""

import math
from collections.abc import Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import date, datetime, time, timedelta
from time import monotonic

from pydicom.dataset import Dataset

from dicom_gateway.asking import Asking
from dicom_gateway.contexts import STUDY_ROOT_FIND
from dicom_gateway.errors import QueryFailed, TooManyMatches
from dicom_gateway.querying import MOST_ANSWERS, Question
from dicom_gateway.study_window import StudyWindow
from dicom_gateway.values import integer, one_uid, text, texts

MANY = 100
MOST_STUDIES, MOST_SERIES, MOST_IMAGES = 50_000, 1_000, 10_000
"""Of one study, and of one series."""
REFUSED_KEY = 0xA900
"""Identifier does not match the SOP class (PS3.4 Table C.4-1): some say so of an optional key."""


@dataclass(frozen=True, kw_only=True)
class FoundStudy:
    study_instance_uid: str
    at: datetime | None
    """Study Date and Time, local; midnight where the time is missing. None without a date."""
    modalities: frozenset[str]
    """Empty where the PACS does not say."""
    accession_number: str = field(default="", repr=False)
    """Names a patient to whoever has the RIS: not to be kept or shown as it is."""
    description: str = field(default="", repr=False)
    """Free text: may hold anything."""


@dataclass(frozen=True, kw_only=True)
class FoundSeries:
    study_instance_uid: str
    series_instance_uid: str
    modality: str
    body_part: str
    """Body Part Examined, "" where the PACS does not say."""
    at: datetime | None
    """Series Date and Time, as of a study."""
    images: int | None
    """Number of Series Related Instances; None where the PACS does not say."""
    description: str = field(default="", repr=False)


@dataclass(frozen=True, kw_only=True)
class FoundImage:
    study_instance_uid: str
    series_instance_uid: str
    sop_instance_uid: str
    sop_class_uid: str
    """"" where the PACS does not say."""
    at: datetime | None
    """Content Date and Time."""


class PacsContents:
    """Questions to one PACS, over one open association. Each raises QueryFailed, TooManyMatches."""

    def __init__(self, peer: Asking, *, seconds: float, until: float = math.inf) -> None:
        """
        Args:
            seconds: for each answer.
            until: of the monotonic clock. Then every question fails.
        """
        if not peer.takes(STUDY_ROOT_FIND):
            raise QueryFailed("not_accepted")
        self._peer = peer
        self._seconds = seconds
        self._until = until
        self._takes_modalities = True
        self.unreadable = 0
        """Matches that could not be read, or without a valid UID."""

    def studies(self, window: StudyWindow, modalities: Iterable[str] = ()) -> list[FoundStudy]:
        """Studies of the window, each once, oldest first.

        Args:
            modalities: each is asked for by itself, for a list is matched by extended negotiation only. A study that
                says that it has none of them is left out. Empty: every study.
        """
        wanted = sorted(set(modalities))
        found: dict[str, FoundStudy] = {}
        for modality in wanted or [""]:
            found |= self._studies(window, modality)
            if modality and not self._takes_modalities:
                break  # that was every study
        kept = (one for one in found.values() if not (wanted and one.modalities) or one.modalities & set(wanted))
        return sorted(kept, key=lambda one: (one.at or datetime.min, one.study_instance_uid))

    def series(self, study_instance_uid: str) -> list[FoundSeries]:
        keys = {
            "StudyInstanceUID": study_instance_uid,
            "SeriesInstanceUID": "",
            "Modality": "",
            "SeriesNumber": "",
            "BodyPartExamined": "",
            "SeriesDate": "",
            "SeriesTime": "",
            "SeriesDescription": "",
            "NumberOfSeriesRelatedInstances": "",
        }
        found = {}
        for match in self._ask("SERIES", keys, MOST_SERIES):
            uid = one_uid(match, "SeriesInstanceUID")
            if self._is_of(match, uid, StudyInstanceUID=study_instance_uid):
                found[uid] = FoundSeries(
                    study_instance_uid=study_instance_uid,
                    series_instance_uid=uid,
                    modality=text(match, "Modality"),
                    body_part=text(match, "BodyPartExamined"),
                    at=_moment(_date(match, "SeriesDate"), _time(match, "SeriesTime")),
                    images=integer(match, "NumberOfSeriesRelatedInstances"),
                    description=text(match, "SeriesDescription"),
                )
        return list(found.values())

    def images(self, study_instance_uid: str, series_instance_uid: str) -> list[FoundImage]:
        keys = {
            "StudyInstanceUID": study_instance_uid,
            "SeriesInstanceUID": series_instance_uid,
            "SOPInstanceUID": "",
            "SOPClassUID": "",
            "InstanceNumber": "",
            "ContentDate": "",
            "ContentTime": "",
        }
        above = {"StudyInstanceUID": study_instance_uid, "SeriesInstanceUID": series_instance_uid}
        found = {}
        for match in self._ask("IMAGE", keys, MOST_IMAGES):
            uid = one_uid(match, "SOPInstanceUID")
            if self._is_of(match, uid, **above):
                found[uid] = FoundImage(
                    study_instance_uid=study_instance_uid,
                    series_instance_uid=series_instance_uid,
                    sop_instance_uid=uid,
                    sop_class_uid=one_uid(match, "SOPClassUID"),
                    at=_moment(_date(match, "ContentDate"), _time(match, "ContentTime")),
                )
        return list(found.values())

    def _studies(self, window: StudyWindow, modality: str) -> dict[str, FoundStudy]:
        """By UID; asked again in halves where there may be more."""
        halves = window.halves()
        try:
            found, whole = self._one_window(window, modality)
        except TooManyMatches:
            if halves is None:
                raise
            found, whole = {}, False
        if whole or halves is None:
            return found
        for half in halves:
            found |= self._studies(half, modality)
            if len(found) > MOST_STUDIES:
                raise TooManyMatches("too_many_matches")
        return found

    def _one_window(self, window: StudyWindow, modality: str) -> tuple[dict[str, FoundStudy], bool]:
        """And whether asking for less can bring no more: few matches, or the PACS does not heed the window."""
        keys = window.keys | {
            "StudyInstanceUID": "",
            "AccessionNumber": "",
            "StudyDescription": "",
            "ModalitiesInStudy": modality if self._takes_modalities else "",
        }
        question = self._question("STUDY", keys, MOST_ANSWERS)
        found: dict[str, FoundStudy] = {}
        outside = 0
        for match in question:
            uid, day, seconds = one_uid(match, "StudyInstanceUID"), _date(match, "StudyDate"), _time(match, "StudyTime")
            if not uid:
                self.unreadable += 1
            elif not window.covers(day, seconds):
                outside += 1
            else:
                found[uid] = FoundStudy(
                    study_instance_uid=uid,
                    at=_moment(day, seconds),
                    modalities=frozenset(filter(None, texts(match, "ModalitiesInStudy"))),
                    accession_number=text(match, "AccessionNumber"),
                    description=text(match, "StudyDescription"),
                )
        self.unreadable += question.unreadable
        if question.status == REFUSED_KEY and keys["ModalitiesInStudy"]:
            self._takes_modalities = False
            return self._one_window(window, "")
        question.check()
        return found, bool(outside) or len(found) < MANY

    def _ask(self, level: str, keys: dict[str, str], most: int) -> Iterator[Dataset]:
        """Each match as it comes: one may have 64 KiB."""
        question = self._question(level, keys, most)
        yield from question
        self.unreadable += question.unreadable
        question.check()

    def _question(self, level: str, keys: dict[str, str], most: int) -> Question:
        if self._peer.over or monotonic() >= self._until:
            raise QueryFailed("no_answer")
        return Question(self._peer, level, keys, seconds=self._seconds, until=self._until, most=most)

    def _is_of(self, match: Dataset, uid: str, **above: str) -> bool:
        """Whether it has a UID, and is of the study and series that were asked for, where it says of which it is."""
        if not uid:
            self.unreadable += 1
        return bool(uid) and all(one_uid(match, keyword) in ("", asked) for keyword, asked in above.items())


def _date(match: Dataset, keyword: str) -> date | None:
    """As DA has it (PS3.5 6.2), also with the dots of ACR-NEMA."""
    found = _parsed(text(match, keyword).replace(".", ""), "%Y%m%d")
    return found.date() if found else None


def _time(match: Dataset, keyword: str) -> int | None:
    """Seconds of the day. As TM has it (PS3.5 6.2), also with the colons of ACR-NEMA."""
    clock = text(match, keyword).replace(":", "").partition(".")[0]
    found = _parsed(clock.ljust(6, "0"), "%H%M%S") if len(clock) in (2, 4, 6) else None
    return found.hour * 3600 + found.minute * 60 + found.second if found else None


def _parsed(value: str, form: str) -> datetime | None:
    with suppress(ValueError):
        return datetime.strptime(value, form)
    return None


def _moment(day: date | None, seconds: int | None) -> datetime | None:
    return None if day is None else datetime.combine(day, time()) + timedelta(seconds=seconds or 0)
