from typing import Any

import numpy as np
import pytest

from model.gate.network import Sight
from model.gate.quality import Quality
from model.gate.reasons import REASONS
from model.gate.rules import HEADER_RULES, PIXEL_RULES, QUALITY_RULES, Facts, Gate, Policy, Thresholds, scored_view

GOOD: dict[str, Any] = {"modality": "DX", "body_part": "CHEST", "views": ("PA",), "age_years": 45.0}
TABLE: list[tuple[dict[str, Any], dict[str, Any], str | None]] = [
    ({}, {}, None),
    ({"modality": "CR"}, {}, None),
    ({"modality": "CT"}, {}, "modality"),
    ({"modality": ""}, {}, "modality"),
    ({"modality": "CT"}, {"modalities": ()}, None),
    ({"modality": "DX"}, {"modalities": ("CR",)}, "modality"),
    ({"body_part": ""}, {}, None),
    ({"body_part": "THORAX"}, {}, None),
    ({"body_part": "CHEST PA"}, {}, None),
    ({"body_part": "LUNGS"}, {}, None),
    ({"body_part": "HAND"}, {}, "body_part"),
    ({"body_part": "HAND"}, {"body_parts": ()}, None),
    ({"views": ("AP",)}, {}, "view"),
    ({"views": ("LATERAL",)}, {}, "view"),
    ({"views": ("AP",)}, {"views": ("PA", "AP")}, None),
    ({"views": ()}, {}, "view_missing"),
    ({"views": ()}, {"mark": frozenset({"view_missing"})}, None),
    ({"views": ("AP",)}, {"mark": frozenset({"view_missing"})}, "view"),
    ({"views": ("PA EXPIRATION",)}, {}, "view"),
    ({"views": ("LATERAL",)}, {"views": ("PA", "LATERAL")}, None),
    # attributes that contradict each other, where one of them would be scored
    ({"views": ("PA", "AP")}, {}, "view_conflict"),
    ({"views": ("PA", "LATERAL")}, {}, "view_conflict"),
    ({"views": ("PA", "AP")}, {"views": ("PA", "AP")}, "view_conflict"),
    ({"views": ("AP", "LATERAL")}, {}, "view"),
    ({"views": ("PA", "DECUBITUS")}, {}, "view"),
    ({"views": ("PA", "LORDOTIC")}, {"views": ("PA", "LORDOTIC")}, None),
    ({"views": ("PA", "AP")}, {"mark": frozenset({"view_conflict"})}, None),
    ({"views": ("PA", "AP")}, {"mark": frozenset({"view"})}, "view_conflict"),
    ({"turned": True}, {}, "orientation"),
    ({"turned": True}, {"mark": frozenset({"orientation"})}, None),
    ({"age_years": None}, {}, None),
    ({"age_years": 18.0}, {}, None),
    ({"age_years": 17.99}, {}, "age"),
    ({"age_years": 0.0}, {}, "age"),
    ({"age_years": 0.0}, {"min_age": 0.0}, None),
    ({"age_years": 64.0}, {"min_age": 65.0}, "age"),
    ({"burned_in": "YES"}, {}, "burned_in"),
    ({"burned_in": "NO"}, {}, None),
    ({"burned_in": ""}, {}, None),
    ({"quality_control": "YES"}, {}, "quality_control"),
    ({"quality_control": "NO"}, {}, None),
    ({"quality_control": "BOTH"}, {}, None),
    ({"derived": "dual_energy"}, {}, "derived"),
    ({"derived": "dual_energy"}, {"mark": frozenset({"derived"})}, None),
    ({"for_processing": True}, {}, "for_processing"),
    ({"for_processing": True}, {"mark": frozenset({"for_processing"})}, None),
    # the first rule that refuses names the reason
    ({"modality": "CT", "body_part": "HAND", "views": ("AP",), "age_years": 3.0}, {}, "modality"),
    ({"body_part": "HAND", "views": (), "age_years": 3.0}, {}, "body_part"),
    ({"views": (), "age_years": 3.0}, {}, "view_missing"),
    ({"views": ("AP",), "age_years": 3.0, "burned_in": "YES"}, {"mark": frozenset({"view", "age"})}, "burned_in"),
]
QUALITY: dict[str, Any] = {
    "rows": 2000,
    "columns": 1800,
    "contrast": 0.8,
    "entropy": 5.5,
    "clipped": 0.01,
    "brightness": 0.5,
}
LIMIT = Thresholds(other=0.5, distance=20.0, inverted=0.6, rotated=0.7, view=0.8, accepted=0.9)


def sight(pa: float = 0.96, ap: float = 0.03, **changes: float) -> Sight:
    values = {"rotated": 0.01, "inverted": 0.02, "distance": 9.0} | changes
    return Sight(view={"PA": pa, "AP": ap, "OTHER": 1.0 - pa - ap}, **values)


@pytest.mark.parametrize(("facts", "policy", "reason"), TABLE)
def test_refusal_by_the_header(facts: dict[str, Any], policy: dict[str, Any], reason: str | None) -> None:
    assert Gate(Policy(**policy)).header(Facts(**(GOOD | facts))) == reason


@pytest.mark.parametrize(
    ("texts", "names", "reason"),
    [
        (
            "CHEST|CHEST PA|CHESTPA|LUNGS|THORAX_AP|1CHEST|CHESTABDOMEN|TORAX|BRUST|BRUSTKORB|POUMON|PULMON|POLMONE"
            "|TÓRAX|PULMÕES|TORACE PA|RX TORAX|CAGE THORACIQUE|LUNGE|LUNGENAUFNAHME|PECHO/PULMON",
            ("CHEST", "THORAX", "LUNG"),
            None,
        ),
        (
            "BRUSTWIRBELSÄULE|BRUST WIRBELSÄULE|BRUSTBEIN|COLUMNA TORACICA|COLUMNA TORAX|TORAXX|PULMONARY ARTERY|LONG"
            "|DETTORAX|HAND|EINSTELLUNG|BEHANDLUNG HAND|GAMBA LUNGA|ORCHESTRA|DE|PA|?",
            ("CHEST", "THORAX", "LUNG"),
            "body_part",
        ),
        ("CHEST|THORAX|TORAX|TORAX PULMON", ("TÓRAX",), None),
        ("LUNG|POUMON|HAND|BRUSTWIRBELSÄULE", ("BRUST",), "body_part"),
        ("UPPER TRUNK|UPPER TRUNKS", ("CHEST", "Upper Trunk"), None),
        ("HAND|HANDS", ("HAND",), None),
        ("TORAX", ("HAND",), "body_part"),
    ],
)
def test_body_parts_in_other_languages(texts: str, names: tuple[str, ...], reason: str | None) -> None:
    for text in texts.split("|"):
        assert Gate(Policy(body_parts=names)).header(Facts(**(GOOD | {"body_part": text}))) == reason, text


QUALITY_TABLE: list[tuple[dict[str, Any], str | None]] = [
    ({}, None),
    ({"rows": 224, "columns": 224}, None),
    ({"rows": 223}, "too_small"),
    ({"columns": 223}, "too_small"),
    ({"contrast": 0.1, "entropy": 2.0}, None),
    ({"contrast": 0.0999}, "blank"),
    ({"entropy": 1.9999}, "blank"),
    ({"clipped": 0.2499}, None),
    ({"entropy": 1.9, "clipped": 0.25}, "clipped"),
    ({"contrast": 0.09, "clipped": 0.25}, "blank"),
    ({"clipped": 0.25}, "clipped"),
    ({"rows": 10, "contrast": 0.0, "clipped": 1.0}, "too_small"),
]


@pytest.mark.parametrize(("changes", "reason"), QUALITY_TABLE)
def test_refusal_by_image_quality(changes: dict[str, Any], reason: str | None) -> None:
    """Without a network too."""
    verdict = Gate(Policy()).judge(Facts(**GOOD), Quality(**(QUALITY | changes)), np.zeros((224, 224), np.uint8))
    assert (verdict.reason, verdict.notes) == (reason, ())
    assert verdict.measured == QUALITY | changes


PIXEL_TABLE: list[tuple[str, Sight, dict[str, Any], str | None]] = [
    ("PA", sight(), {}, None),
    ("PA", sight(pa=0.21, ap=0.78), {}, None),
    ("PA", sight(pa=0.2, ap=0.79), {}, "view_pixels"),
    ("PA", sight(pa=0.2, ap=0.79), {"views": ("PA", "AP")}, None),
    ("PA", sight(pa=0.1, ap=0.41), {}, "view_pixels"),
    ("PA", sight(pa=0.1, ap=0.4), {}, "not_a_chest_film"),
    ("PA", sight(distance=20.0), {}, "not_a_chest_film"),
    ("PA", sight(distance=19.9, inverted=0.59, rotated=0.69), {}, None),
    ("PA", sight(inverted=0.6, rotated=0.7), {}, "inverted"),
    ("PA", sight(rotated=0.7), {}, "rotated"),
    # tags still count
    ("AP", sight(), {}, "view"),
    ("AP", sight(pa=0.1, ap=0.88), {"views": ("PA", "AP")}, None),
    # without a tag the pixels must be sure, or the attribute is still missing
    ("", sight(pa=0.9, ap=0.05), {}, None),
    ("", sight(pa=0.89, ap=0.05), {}, "view_missing"),
    ("", sight(pa=0.2, ap=0.79), {}, "view_pixels"),
    ("", sight(pa=0.4, ap=0.55), {"views": ("PA", "AP")}, None),
    ("", sight(pa=0.95, ap=0.03, rotated=0.99), {}, "rotated"),
]


@pytest.mark.parametrize(("tag", "seen", "policy", "reason"), PIXEL_TABLE)
def test_refusal_by_pixels(tag: str, seen: Sight, policy: dict[str, Any], reason: str | None) -> None:
    gate = Gate(Policy(**policy), limit=LIMIT)
    verdict = gate.decide(Facts(**(GOOD | {"views": (tag,) if tag else ()})), Quality(**QUALITY), seen)
    assert (verdict.reason, verdict.notes) == (reason, ())
    assert verdict.measured["view_pa"] == round(seen.view["PA"], 4)


@pytest.mark.parametrize(
    ("rotated", "reason"),
    [(0.0, None), (0.099, None), (0.1, "orientation"), (0.5, "orientation"), (0.7, "orientation")],
)
def test_a_film_that_the_header_calls_turned_is_scored_only_if_the_pixels_are_sure(
    rotated: float, reason: str | None
) -> None:
    facts = Facts(**GOOD, turned=True)
    assert Gate(Policy()).decide(facts, Quality(**QUALITY), None).reason == "orientation"
    assert Gate(Policy(), limit=LIMIT).decide(facts, Quality(**QUALITY), sight(rotated=rotated)).reason == reason


@pytest.mark.parametrize("views", [("PA", "PA ERECT"), ("PA", "NO SUCH VIEW"), ("PA", "PA")])
def test_only_a_view_that_is_not_frontal_lets_other_pixels_pass(views: tuple[str, ...]) -> None:
    """Lateral films, and what is no chest film at all, are OTHER to the network."""
    seen = sight(pa=0.55, ap=0.05)
    assert scored_view(seen, Policy(views=views)) == pytest.approx(0.55)
    assert scored_view(seen, Policy(views=("PA", "LATERAL"))) == pytest.approx(0.95)


def test_marked_reasons_do_not_refuse_and_are_kept() -> None:
    facts, quality = Facts(**(GOOD | {"age_years": 9.0})), Quality(**(QUALITY | {"clipped": 0.5}))
    gate = Gate(Policy(mark=frozenset({"age", "clipped", "rotated"})), limit=LIMIT)
    assert gate.header(facts) is None
    verdict = gate.decide(facts, quality, sight(rotated=0.9))
    assert (verdict.reason, verdict.notes) == (None, ("age", "clipped", "rotated"))
    verdict = gate.decide(facts, quality, sight(rotated=0.9, inverted=0.9))
    assert (verdict.reason, verdict.notes) == ("inverted", ("age", "clipped", "rotated"))


def test_every_rule_has_a_documented_reason_and_every_reason_a_rule() -> None:
    assert [reason for reason, _ in (*HEADER_RULES, *QUALITY_RULES, *PIXEL_RULES)] == list(REASONS)


def test_every_rule_has_a_row_in_its_test() -> None:
    for table, rules in ((TABLE, HEADER_RULES), (QUALITY_TABLE, QUALITY_RULES), (PIXEL_TABLE, PIXEL_RULES)):
        tested = {row[-1] for row in table}
        assert tested >= {None, *(reason for reason, _ in rules)}, tested
