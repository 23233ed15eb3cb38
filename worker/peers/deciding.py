"""What becomes of a film that leaves the quarantine: the queue, or an end of its own. Nothing is read or written here.

A film is scored once, however many senders bring it. So it is looked at beside what is admitted under its UID, and what
counts is when each came, as for films of known peers: in `worker.receiving.ingest` a later one is the newer revision.
Admitted a week late, a film replaces no correction of it that came in between.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from dicom_gateway.revision import Comparison
from worker.errors import Unhealthy
from worker.states import DUPLICATE, NOT_A_FILM, REPLACED

Pair = tuple[str, str]
"""Digests of two films, the one that came first before the other."""
CompareFilms = Callable[[str, str], Comparison]
"""Compares the films of a `Pair`, as `dicom_gateway.revision.compare` does with their files."""

COUNTS = ("", NOT_A_FILM)
"""Reasons of what is part of its study from now on."""


@dataclass(frozen=True, kw_only=True)
class AdmittedFilm:
    """A film that is here under the same UID, whatever became of it."""

    id: int
    revision: int
    digest: str
    study_instance_uid: str


@dataclass(frozen=True, kw_only=True)
class Fate:
    """What becomes of it."""

    reason: str = ""
    """"" for the queue, else why it ends: NOT_A_FILM, DUPLICATE or REPLACED."""
    other: AdmittedFilm | None = None
    """That it is a duplicate or a revision of, or that replaced it; None where it stands alone."""
    found: Comparison | None = None
    """Of a revision: in what it differs from the one before it. Of a duplicate with other bytes: in demographics, or in
    nothing that is looked at."""


def unread(_earlier: str, _later: str) -> Comparison:
    """Where nothing reads the spool. Other bytes may be the same film, so nobody guesses."""
    raise Unhealthy("a film is here with other bytes, and nothing here compares the two")


def decide(
    revision: int, digest: str, here: Sequence[AdmittedFilm], compared: Mapping[Pair, Comparison]
) -> Fate | set[Pair]:
    """
    Args:
        revision, digest: of the film that leaves the quarantine.
        here: what is admitted under its UID, by revision.
        compared: what is known of films with other bytes.

    Returns:
        the pairs that must be compared first, where `compared` lacks them.
    """
    before = next((film for film in reversed(here) if film.revision < revision), None)
    after = here[-1] if here and here[-1].revision > revision else None
    pairs: list[tuple[AdmittedFilm, Pair]] = []
    if before:
        pairs.append((before, (before.digest, digest)))
    if after:
        pairs.append((after, (digest, after.digest)))
    for film, (first, second) in pairs:
        if first == second:
            return Fate(reason=DUPLICATE, other=film)
    if unknown := {pair for _, pair in pairs if pair not in compared}:
        return unknown
    for film, pair in pairs:
        if compared[pair].same:
            return Fate(reason=DUPLICATE, other=film, found=compared[pair])
    if after:
        return Fate(reason=REPLACED, other=after)
    return Fate(other=before, found=compared[before.digest, digest]) if before else Fate()
