"""Every reason of a dead letter has a meaning and a next step."""

import pytest

from worker.dead_letters import OF_PIXELS, OF_SERVICE, in_words
from worker.scoring.outcomes import known_reasons
from worker.states import NO_STUDY, State


def test_every_reason_has_words() -> None:
    assert {*OF_SERVICE, *OF_PIXELS} == set(known_reasons()[State.FAILED])
    assert not set(OF_SERVICE) & set(OF_PIXELS)


@pytest.mark.parametrize(
    ("reason", "words"),
    [
        ("multi_frame", "Number of Frames is over 1. Look at the film in the PACS, then 'xrayq instance reject 17'."),
        (
            "spool_missing",
            "the film is not in the spool. Put the file back from a backup or have the film sent again, then "
            "'xrayq instance requeue 17'.",
        ),
        ("of another version", "of another version. Look at the film in the PACS, then 'xrayq instance reject 17'."),
    ],
)
def test_words_are_one_line(reason: str, words: str) -> None:
    assert in_words(reason, 17) == words


def test_what_would_fail_again_is_not_sent_back_to_work() -> None:
    assert "requeue" not in in_words(NO_STUDY, 17)
