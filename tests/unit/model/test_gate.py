from typing import Any

import pytest

from model.gate import REASONS, RULES, Facts, Policy, refuse

GOOD: dict[str, Any] = {"modality": "DX", "body_part": "CHEST", "view_position": "PA", "age_years": 45.0}
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
    ({"view_position": "AP"}, {}, "view"),
    ({"view_position": "LL"}, {}, "view"),
    ({"view_position": "AP"}, {"views": ("PA", "AP")}, None),
    ({"view_position": ""}, {}, "view_missing"),
    ({"view_position": ""}, {"allow_missing_view": True}, None),
    ({"view_position": "AP"}, {"allow_missing_view": True}, "view"),
    ({"age_years": None}, {}, None),
    ({"age_years": 18.0}, {}, None),
    ({"age_years": 17.99}, {}, "age"),
    ({"age_years": 0.0}, {}, "age"),
    ({"age_years": 0.0}, {"min_age": 0.0}, None),
    ({"age_years": 64.0}, {"min_age": 65.0}, "age"),
    # the first rule that refuses names the reason
    ({"modality": "CT", "body_part": "HAND", "view_position": "AP", "age_years": 3.0}, {}, "modality"),
    ({"body_part": "HAND", "view_position": "", "age_years": 3.0}, {}, "body_part"),
    ({"view_position": "", "age_years": 3.0}, {}, "view_missing"),
]


@pytest.mark.parametrize(("facts", "policy", "reason"), TABLE)
def test_refusal(facts: dict[str, Any], policy: dict[str, Any], reason: str | None) -> None:
    assert refuse(Facts(**(GOOD | facts)), Policy(**policy)) == reason


def test_every_rule_has_a_documented_reason_and_every_reason_a_rule() -> None:
    assert [reason for reason, _ in RULES] == list(REASONS)
    assert {reason for *_, reason in TABLE} == {None, *REASONS}
