"""Eligibility from what the header says: the first rule that refuses gives its coded reason."""

from collections.abc import Callable
from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class Facts:
    """What the gate looks at. Text is upper case, "" when missing; age is None when unknown."""

    modality: str
    body_part: str
    view_position: str
    age_years: float | None


@dataclass(frozen=True, kw_only=True)
class Policy:
    """A site's choices."""

    modalities: tuple[str, ...] = ("CR", "DX")
    body_parts: tuple[str, ...] = ("CHEST", "THORAX", "LUNG")
    views: tuple[str, ...] = ("PA",)
    allow_missing_view: bool = False
    min_age: float = 18.0
    """Years. The bundle was trained on adults."""


REASONS: dict[str, str] = {
    "modality": "Modality (0008,0060) is not one that is scored",
    "body_part": "Body Part Examined (0018,0015) is another part of the body",
    "view_missing": "View Position (0018,5101) is missing",
    "view": "View Position (0018,5101) is not one that is scored",
    "age": "patient is younger than the limit",
}

RULES: tuple[tuple[str, Callable[[Facts, Policy], bool]], ...] = (
    ("modality", lambda facts, policy: bool(policy.modalities) and facts.modality not in policy.modalities),
    (
        "body_part",
        lambda facts, policy: (
            bool(facts.body_part)
            and bool(policy.body_parts)
            and not any(part in facts.body_part for part in policy.body_parts)
        ),
    ),
    ("view_missing", lambda facts, policy: not facts.view_position and not policy.allow_missing_view),
    ("view", lambda facts, policy: bool(facts.view_position) and facts.view_position not in policy.views),
    ("age", lambda facts, policy: facts.age_years is not None and facts.age_years < policy.min_age),
)


def refuse(facts: Facts, policy: Policy) -> str | None:
    """The reason code of the first rule that refuses the film, None when it is eligible."""
    return next((reason for reason, refuses in RULES if refuses(facts, policy)), None)
