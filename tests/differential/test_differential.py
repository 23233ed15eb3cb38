"""A fixed part of the grid: every difference from DCMTK and pydicom has its explanation, and the page lists it."""

from pathlib import Path

import pytest

from tests.differential import aspects, cases
from tests.differential.compare import AGREES, NO_ANSWER, UNEXPLAINED, compare, described, explanations
from tests.services import tool

CASES = [24, pytest.param(240, marks=pytest.mark.slow)]
PAGE = Path(__file__).parents[2] / "dicom_gateway" / "CONFORMANCE.md"


@pytest.mark.parametrize("count", CASES)
def test_the_grid_is_shown_as_dcmtk_and_pydicom_show_it(tmp_path: Path, count: int) -> None:
    for name in ("dcm2pnm", "dcmj2pnm", "dcml2pnm"):
        tool(name)
    found = [compare(number, tmp_path) for number in range(count)]
    odd = [
        f"case {made.number}: {name} {outcome.verdict}: {described(made, outcome)}"
        for made, outcomes in found
        for name, outcome in outcomes.items()
        if outcome.verdict in (UNEXPLAINED, NO_ANSWER)
    ]
    assert not odd
    agreeing = sum(any(outcome.verdict == AGREES for outcome in outcomes.values()) for _, outcomes in found)
    assert agreeing >= 0.9 * count


@pytest.mark.parametrize("syntax", cases.SYNTAXES)
def test_a_plain_film_agrees_in_every_transfer_syntax(tmp_path: Path, syntax: str) -> None:
    forced = {"modality": "rescale", "voi": "linear", "padding": "no padding", "shape": "shape", "syntax": syntax}
    _, found = compare(1, tmp_path, **forced)
    assert found["DCMTK"].verdict == AGREES


def test_the_shape_of_a_pixel_is_dcmtks(tmp_path: Path) -> None:
    tool("dcm2pnm")
    assert [one for one in aspects.shapes(tmp_path) if not one.agrees and not one.explained] == []


def test_every_difference_is_documented() -> None:
    page = PAGE.read_text(encoding="utf-8")
    rows = [*explanations(), (aspects.ZERO, "DCMTK", aspects.WHY)]
    missing = [key for key, renderer, why in rows if f"| {key} | {renderer} | {why} |" not in page]
    assert missing == []
