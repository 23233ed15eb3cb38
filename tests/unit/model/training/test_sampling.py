"""Which films are drawn how often, and how they weigh."""

from collections.abc import Sequence

import numpy as np
import pytest

pytest.importorskip("torch", reason="training needs torch: pip install 'xrayq[train]'")

from model.training.sampling import UNKNOWN, shares

Cells = dict[tuple[str, int], int]


def drawn(cells: Cells, weights: dict[str, float] | None = None) -> dict[tuple[str, int], float]:
    """Share of the draws of each source's films of each label, given how many there are."""
    pairs = [pair for pair, count in cells.items() for _ in range(count)]
    own = np.array([(weights or {}).get(source, 1.0) for source, _ in pairs])
    chances = shares(np.array([label for _, label in pairs], np.int64), [source for source, _ in pairs], own)
    assert chances.sum() == pytest.approx(1.0)
    return {
        pair: float(sum(chance for chance, one in zip(chances, pairs, strict=True) if one == pair)) for pair in cells
    }


def totals(found: dict[tuple[str, int], float]) -> Sequence[float]:
    return [sum(share for (_, label), share in found.items() if label == at) for at in sorted({at for _, at in found})]


def test_each_finding_is_drawn_equally_often() -> None:
    found = drawn({("a", 0): 90, ("a", 1): 30, ("b", 2): 3, ("b", 1): 3})
    assert totals(found) == pytest.approx([1 / 3] * 3)


def test_within_a_source_its_findings_are_drawn_equally_often() -> None:
    found = drawn({("a", 0): 60, ("a", 1): 20, ("b", 0): 20, ("b", 1): 60})
    assert list(found.values()) == pytest.approx([0.25] * 4)
    scarce = drawn({("a", 0): 1000, ("a", 1): 2, ("b", 0): 1000, ("b", 1): 1000})
    assert scarce["a", 1] < 0.05  # each film four times as often as its weight asks for, not 500 times


def test_a_source_with_one_finding_is_held_down_where_others_have_it() -> None:
    found = drawn({("a", 0): 10, ("a", 1): 10, ("one", 1): 500})
    assert found["one", 1] == pytest.approx(found["a", 1])
    assert drawn({("a", 0): 10, ("one", 1): 500})["one", 1] == pytest.approx(0.5)  # nobody else has it


def test_weights_count_within_a_finding() -> None:
    cells = {("a", 0): 10, ("a", 1): 10, ("b", 0): 10, ("b", 1): 10}
    found = drawn(cells, {"b": 0.5})
    assert found["b", 0] / found["a", 0] == pytest.approx(0.5)


def test_films_without_a_finding_are_drawn_as_often_as_one_finding() -> None:
    found = drawn({("a", 0): 10, ("a", 1): 10, ("b", UNKNOWN): 1000})
    assert found["b", UNKNOWN] == pytest.approx(1 / 3)
