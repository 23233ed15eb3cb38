"""The chest films of a day that a PACS has, asked by C-FIND."""

import math
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import date, datetime

from dicom_gateway.asking import asking
from dicom_gateway.contexts import FILM_CLASSES, STUDY_ROOT_FIND
from dicom_gateway.errors import BadCertificate, PeerUnavailable, QueryFailed
from dicom_gateway.pacs_contents import FoundSeries, FoundStudy, PacsContents
from dicom_gateway.study_window import StudyWindow
from dicom_gateway.tls import client_context
from model.gate.body_parts import is_one_of
from worker.errors import NotAsked, PacsAway
from worker.pacs.options import AskedPacs, AskOptions

MOST_FILMS = 100_000
"""Of one day. More are no chest films of one hospital."""


@dataclass(frozen=True, kw_only=True)
class PacsFilm:
    """A film that a PACS has."""

    study_instance_uid: str
    series_instance_uid: str
    sop_instance_uid: str
    sop_class_uid: str
    """"" where the PACS does not say: then it may be no film."""
    modality: str
    at: datetime | None
    """The latest of its times, local: a film may come an hour after its study began."""
    accession_number: str = field(repr=False)


@dataclass(frozen=True, kw_only=True)
class PacsListing:
    films: tuple[PacsFilm, ...]
    unreadable: int
    """Matches that named nothing."""


@contextmanager
def opened(pacs: AskedPacs, options: AskOptions, *, until: float = math.inf) -> Iterator[PacsContents]:
    """An association with a PACS, to ask. Raises PacsAway; and NotAsked where a question of the block has no whole
    answer.

    Args:
        until: of the monotonic clock, for all that is asked.
    """
    total = min(until - time.monotonic(), options.total_seconds)
    if total <= 0:
        raise PacsAway("no_time")
    try:
        tls = client_context(options.tls) if pacs.tls and options.tls else None
        with asking(
            pacs.host,
            pacs.port,
            (STUDY_ROOT_FIND,),
            called_ae=pacs.called_ae,
            calling_ae=options.calling_ae,
            timeout=options.answer_seconds,
            total=total,
            tls=tls,
        ) as peer:
            yield PacsContents(peer, seconds=options.answer_seconds, until=time.monotonic() + total)
    except PeerUnavailable as away:
        raise PacsAway(str(away)) from None
    except BadCertificate:
        raise PacsAway("bad_certificate") from None
    except QueryFailed as failed:
        raise NotAsked(str(failed)) from None


def films_of(contents: PacsContents, day: date, options: AskOptions) -> PacsListing:
    """By Study Date. Raises QueryFailed, NotAsked."""
    found: dict[str, PacsFilm] = {}
    for study in contents.studies(StudyWindow(first=day, last=day), options.modalities):
        for series in contents.series(study.study_instance_uid):
            if _wanted(study, series, options):
                found |= {film.sop_instance_uid: film for film in _films(contents, study, series)}
        if len(found) > MOST_FILMS:
            raise NotAsked("too_many_matches")
    return PacsListing(films=tuple(found.values()), unreadable=contents.unreadable)


def _wanted(study: FoundStudy, series: FoundSeries, options: AskOptions) -> bool:
    """As the gate looks at a header: another body part is none of ours, a missing one may be."""
    if options.modalities and series.modality not in options.modalities:
        return False
    if series.body_part and options.body_parts:
        return is_one_of(series.body_part, options.body_parts)
    described = f"{study.description} {series.description}".casefold()
    return not options.words or any(word.casefold() in described for word in options.words)


def _films(contents: PacsContents, study: FoundStudy, series: FoundSeries) -> Iterator[PacsFilm]:
    for image in contents.images(series.study_instance_uid, series.series_instance_uid):
        if image.sop_class_uid and image.sop_class_uid not in FILM_CLASSES:
            continue  # a presentation state, say
        yield PacsFilm(
            study_instance_uid=image.study_instance_uid,
            series_instance_uid=image.series_instance_uid,
            sop_instance_uid=image.sop_instance_uid,
            sop_class_uid=image.sop_class_uid,
            modality=series.modality[:16],
            at=max(filter(None, (study.at, series.at, image.at)), default=None),
            accession_number=study.accession_number,
        )
