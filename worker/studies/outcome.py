"""What a study's outcome is: which film speaks for it, and what it says. Nothing is read or written here.

**The film that is used** is chosen before any score is looked at: among the scored films of the study, each in its
newest revision, the one that was received last. A repeat is made because the film before it was poor. What counts is
when the film came first: a corrected header makes no film a repeat. Where a PACS pushes a whole study, the order of
receipt is the PACS's, and may differ from that of the exposures.

So the rate of false flags of studies is that of films. If the highest score decided, each further film would be one
more chance of a false flag. A simulation of 1,000,000 studies without the finding, a film's rate of false flags 10 %,
scores of films of one study correlated by 0.8: of studies with two films 10.0 % are flagged by the film received last,
14.4 % by the highest score; of those with three films 10.0 % and 17.2 %.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from worker.db.scores import LiveScore
from worker.states import NOT_A_FILM, State

MOVED = "moved"
"""Reason of a study that has nothing any more: a correction put its films into another one."""
SCORE_MISSING = "score_missing"
"""Reason of a study whose film is called scored, and has no score: somebody removed it."""


class StudyOutcome(StrEnum):
    WAITING = "waiting"
    """For films that have not ended, or because an object of it came a short time ago."""
    FLAGGED = "flagged"
    NO_FLAG = "no_flag"
    UNSURE = "unsure"
    """Without a flag, and the prediction set is not exactly one finding."""
    NOT_ANALYSED = "not_analysed"
    """No film was scored, each for a reason of the gate."""
    FAILED = "failed"
    """No film was scored, and one at least failed."""


@dataclass(frozen=True, kw_only=True)
class StudyFilm:
    """One revision of a film of a study."""

    id: int
    first_id: int
    """Of the film's first revision: says which film came later."""
    study_instance_uid: str
    revision: int
    replaced_by: int | None
    """The newest revision's id, where this is not the newest; it may belong to another study."""
    state: State
    reason: str | None
    calling_ae: str
    view: str
    """As View Position says, else as View Code Sequence does; "" where neither does."""
    accession_digest: str
    """"" where the film has no Accession Number."""
    received_at: datetime


@dataclass(frozen=True, kw_only=True)
class Decision:
    """What a study came to."""

    outcome: StudyOutcome
    reason: str | None = None
    used_instance_id: int | None = None
    bundle_digest: str | None = None
    films: int
    failed: int


def newest(films: Sequence[StudyFilm]) -> list[StudyFilm]:
    """Each film in its newest revision, in the order in which the films came."""
    return sorted((film for film in films if film.replaced_by is None), key=lambda film: film.first_id)


def wait(films: Sequence[StudyFilm]) -> bool:
    """Whether a film of the study has not ended."""
    return any(film.state is State.RECEIVED for film in newest(films))


def decide(films: Sequence[StudyFilm], other_objects: int, scores: Mapping[int, LiveScore]) -> Decision:
    """What a study whose films have ended came to.

    Args:
        films: all revisions.
        scores: live scores by instance id.
    """
    counted = newest(films)
    failed = [film for film in counted if film.state is State.FAILED]
    scored = [film for film in counted if film.state in (State.SCORED, State.REPORTED)]
    if used := next((film for film in reversed(scored) if film.id in scores), None):
        score = scores[used.id]
        unflagged = StudyOutcome.UNSURE if score.unsure else StudyOutcome.NO_FLAG
        return Decision(
            outcome=StudyOutcome.FLAGGED if score.flags else unflagged,
            used_instance_id=used.id,
            bundle_digest=score.bundle_digest,
            films=len(counted),
            failed=len(failed),
        )
    outcome, reason = _without_score(counted, other_objects)
    return Decision(outcome=outcome, reason=reason, films=len(counted), failed=len(failed))


def _without_score(films: Sequence[StudyFilm], other_objects: int) -> tuple[StudyOutcome, str | None]:
    """The film received last gives the reason; of films that failed and films that were refused one that failed."""
    if lost := [film for film in films if film.state is not State.INELIGIBLE]:
        last = lost[-1]
        return StudyOutcome.FAILED, last.reason if last.state is State.FAILED else SCORE_MISSING
    if films:
        return StudyOutcome.NOT_ANALYSED, films[-1].reason
    return StudyOutcome.NOT_ANALYSED, NOT_A_FILM if other_objects else MOVED
