"""Which film speaks for a study, and what the study comes to."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import numpy as np
import pytest

from worker.db.scores import LiveScore
from worker.states import State
from worker.studies.outcome import StudyFilm, StudyOutcome, decide, wait

NOON = datetime(2026, 11, 20, 12, tzinfo=UTC)


def film(key: int, state: State = State.SCORED, **changes: Any) -> StudyFilm:
    made = StudyFilm(
        id=key,
        first_id=key,
        study_instance_uid="1.2",
        revision=1,
        replaced_by=None,
        state=state,
        reason={State.INELIGIBLE: "view", State.FAILED: "truncated"}.get(state),
        calling_ae="CR1",
        view="PA",
        accession_digest="",
        received_at=NOON + timedelta(minutes=key),
    )
    return replace(made, **changes)


def score(probability: float) -> LiveScore:
    """Flagged from 0.5 on."""
    return LiveScore(
        bundle_digest="b",
        engine="e",
        scored_at=NOON,
        probabilities={"pneumonia": probability},
        flags=["pneumonia"] if probability >= 0.5 else [],
        prediction_set=None,
    )


@pytest.mark.parametrize("probabilities", [(0.1, 0.2, 0.9), (0.9, 0.2, 0.1), (0.1, 0.9, 0.2), (0.3, 0.3, 0.3)])
def test_no_score_has_a_part_in_the_choice(probabilities: tuple[float, ...]) -> None:
    scores = {key: score(probability) for key, probability in enumerate(probabilities, 1)}
    found = decide([film(key) for key in (2, 3, 1)], 0, scores)
    assert found.used_instance_id == 3
    assert found.outcome is (StudyOutcome.FLAGGED if probabilities[2] >= 0.5 else StudyOutcome.NO_FLAG)


def test_studies_with_repeats_are_flagged_no_more_often_than_films() -> None:
    """Of 4,000 studies without the finding; the highest score would flag 19 % of them, each film's share being 10 %."""
    drawn = np.random.default_rng(5).random((4000, 2))
    films = [film(1), film(2)]
    outcomes = [decide(films, 0, {1: score(one - 0.4), 2: score(two - 0.4)}).outcome for one, two in drawn]
    flagged = sum(outcome is StudyOutcome.FLAGGED for outcome in outcomes) / len(outcomes)
    assert abs(flagged - 0.1) < 0.015
    assert (drawn.max(axis=1) >= 0.9).mean() > 0.17


def test_what_was_replaced_does_not_count_and_keeps_its_place() -> None:
    corrected = film(4, first_id=1, revision=2)
    films = [film(1, replaced_by=4), film(2), film(3, State.FAILED, replaced_by=9), corrected]
    found = decide(films, 0, {key: score(0.7) for key in (1, 2, 4)})
    assert (found.used_instance_id, found.films, found.failed) == (2, 2, 0)
    assert not wait([film(1, State.RECEIVED, replaced_by=2), film(2)])
    assert wait([film(1), film(2, State.RECEIVED)])


@pytest.mark.parametrize(
    ("states", "outcome", "reason"),
    [
        ([State.INELIGIBLE, State.FAILED, State.INELIGIBLE], StudyOutcome.FAILED, "truncated"),
        ([State.INELIGIBLE, State.INELIGIBLE], StudyOutcome.NOT_ANALYSED, "view"),
        ([State.REPORTED], StudyOutcome.FAILED, "score_missing"),
        ([], StudyOutcome.NOT_ANALYSED, "moved"),
    ],
)
def test_without_a_score(states: list[State], outcome: StudyOutcome, reason: str) -> None:
    found = decide([film(key, state) for key, state in enumerate(states, 1)], 0, {})
    assert (found.outcome, found.reason, found.used_instance_id) == (outcome, reason, None)


def test_only_other_objects() -> None:
    assert decide([], 2, {}).reason == "not_a_film"
