"""Text, sizes and numbers as a person reads them."""

import pytest

from worker.words import counted, printable, size


def test_what_does_not_print_becomes_a_space() -> None:
    assert printable("a\x1b[2Jb\n\u202ec") == "a [2Jb\n c"


@pytest.mark.parametrize(
    ("number", "text"),
    [(999, "999 bytes"), (1536, "1.5 KiB"), (300 * 1024**3, "300.0 GiB"), (5000 * 1024**3, "5,000.0 GiB")],
)
def test_a_size_has_the_unit_a_person_would_take(number: int, text: str) -> None:
    assert size(number) == text


@pytest.mark.parametrize(("number", "text"), [(0, "0 films"), (1, "1 film"), (2000, "2,000 films")])
def test_what_is_counted_agrees_with_its_number(number: int, text: str) -> None:
    assert counted(number, "film") == text
