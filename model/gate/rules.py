"""Eligibility: rules on the header, on the image quality and on what the gate's network sees in the pixels.

Each rule has a coded reason. A reason refuses the film, unless the site's policy marks it: then the film is scored and
the reason stays with the score as a note. Thresholds of the network are the bundle's, limits of quality are constants
of `model.gate.quality`, and the policy is the site's.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from model.bundle import Bundle
from model.errors import BundleError
from model.gate.body_parts import is_one_of
from model.gate.network import GateNetwork, Sight
from model.gate.quality import LEAST_CONTRAST, LEAST_ENTROPY, LEAST_SIDE, MOST_CLIPPED, Quality

FRONTAL = ("PA", "AP")
NOT_FRONTAL = ("LATERAL", "OBLIQUE", "DECUBITUS", "LORDOTIC")
"""Views that a site can ask for, and that the network knows as OTHER."""
CONTRADICTORY = frozenset((*FRONTAL, "LATERAL"))
"""No film is two of these. An oblique or decubitus film may well be PA too."""
UPRIGHT = 0.1
"""Probability of a turned film under which the pixels are sure that it is upright, whatever the header says. With
the gate of bundle 0.3.0, none of 220 test films reached .01 as it is, and none was under .8 when it was turned by 90,
180 or 270 degrees."""


@dataclass(frozen=True, kw_only=True)
class Facts:
    """What the header says. Text is upper case, "" when missing; age is None when unknown."""

    modality: str
    body_part: str
    views: tuple[str, ...]
    """Every view that the header names, FRONTAL, NOT_FRONTAL or another text; () for none."""
    age_years: float | None
    turned: bool = False
    """Patient Orientation says that the film lies turned."""
    derived: str = ""
    """What was made of the film, "" for the film itself."""
    burned_in: str = ""
    quality_control: str = ""
    for_processing: bool = False
    """Known when the film is decoded: made for processing, and shown without a window or VOI LUT."""


@dataclass(frozen=True, kw_only=True)
class Policy:
    """A site's choices."""

    modalities: tuple[str, ...] = ("CR", "DX")
    body_parts: tuple[str, ...] = ("CHEST", "THORAX", "LUNG")
    views: tuple[str, ...] = ("PA",)
    min_age: float = 18.0
    """Years. The bundle was trained on adults."""
    mark: frozenset[str] = frozenset()
    """Reasons under which a film is scored all the same, and marked."""


@dataclass(frozen=True, kw_only=True)
class Verdict:
    """Whether a film is scored."""

    reason: str | None = None
    """Why it is refused, a code; None: it is scored."""
    notes: tuple[str, ...] = ()
    """Marked reasons that apply to it."""
    measured: dict[str, float] = field(default_factory=dict)
    """Quality, and what the network saw: numbers alone, nothing of the patient."""


HEADER_RULES: tuple[tuple[str, Callable[[Facts, Policy], bool]], ...] = (
    ("modality", lambda facts, policy: bool(policy.modalities) and facts.modality not in policy.modalities),
    (
        "body_part",
        lambda facts, policy: (
            bool(facts.body_part) and bool(policy.body_parts) and not is_one_of(facts.body_part, policy.body_parts)
        ),
    ),
    ("view_missing", lambda facts, _: not facts.views),
    ("view_conflict", lambda facts, policy: _conflict(facts, policy)),
    (
        "view",
        lambda facts, policy: not _conflict(facts, policy) and any(view not in policy.views for view in facts.views),
    ),
    ("orientation", lambda facts, _: facts.turned),
    ("age", lambda facts, policy: facts.age_years is not None and facts.age_years < policy.min_age),
    ("burned_in", lambda facts, _: facts.burned_in == "YES"),
    ("quality_control", lambda facts, _: facts.quality_control == "YES"),
    ("derived", lambda facts, _: bool(facts.derived)),
    ("for_processing", lambda facts, _: facts.for_processing),
)
ASKED_OF_PIXELS = frozenset({"view_missing", "orientation"})
"""Rules on the header that the network can overrule, by what the pixels show."""

QUALITY_RULES: tuple[tuple[str, Callable[[Quality], bool]], ...] = (
    ("too_small", lambda quality: min(quality.rows, quality.columns) < LEAST_SIDE),
    (
        "blank",  # a clipped film has little entropy too
        lambda quality: (
            quality.contrast < LEAST_CONTRAST or (quality.entropy < LEAST_ENTROPY and quality.clipped < MOST_CLIPPED)
        ),
    ),
    ("clipped", lambda quality: quality.clipped >= MOST_CLIPPED),
)


@dataclass(frozen=True, kw_only=True)
class Thresholds:
    """Limits for what the network says, from the bundle. A film that reaches one is refused; one without a view passes
    when it reaches `accepted`."""

    other: float
    """Probability of the view OTHER."""
    distance: float
    """Mahalanobis distance."""
    inverted: float
    rotated: float
    """Probabilities."""
    view: float
    """Probability of the views that are not scored, taken together."""
    accepted: float
    """Probability of the views that are scored, for a film whose header names no view."""


PIXEL_RULES: tuple[tuple[str, Callable[[Sight, Thresholds, Policy], bool]], ...] = (
    (
        "not_a_chest_film",
        lambda sight, limit, _: sight.view["OTHER"] >= limit.other or sight.distance >= limit.distance,
    ),
    ("inverted", lambda sight, limit, _: sight.inverted >= limit.inverted),
    ("rotated", lambda sight, limit, _: sight.rotated >= limit.rotated),
    ("view_pixels", lambda sight, limit, policy: 1.0 - scored_view(sight, policy) >= limit.view),
)


def header_faults(facts: Facts, policy: Policy) -> Iterator[str]:
    return (reason for reason, applies in HEADER_RULES if applies(facts, policy))


def pixel_faults(sight: Sight, limit: Thresholds, policy: Policy) -> Iterator[str]:
    return (reason for reason, applies in PIXEL_RULES if applies(sight, limit, policy))


def _conflict(facts: Facts, policy: Policy) -> bool:
    """The header's attributes contradict each other, and one of them names a view that is scored."""
    return len(CONTRADICTORY.intersection(facts.views)) > 1 and any(view in policy.views for view in facts.views)


def scored_view(sight: Sight, policy: Policy) -> float:
    """Probability of the views that are scored. OTHER is one where the policy names a view that is not frontal."""
    allowed = {"OTHER" if view in NOT_FRONTAL else view for view in policy.views}
    return sum(chance for view, chance in sight.view.items() if view in allowed)


class Gate:
    """The rules that hold for one bundle at one site."""

    def __init__(self, policy: Policy, *, network: GateNetwork | None = None, limit: Thresholds | None = None) -> None:
        self.policy = policy
        self._network = network
        self._limit = limit

    def header(self, facts: Facts) -> str | None:
        """The reason why this film need not be decoded, None when it must be: ASKED_OF_PIXELS wait for the network,
        where there is one."""
        faults = (reason for reason in header_faults(facts, self.policy) if reason not in self.policy.mark)
        return next((reason for reason in faults if reason not in ASKED_OF_PIXELS or self._network is None), None)

    def judge(self, facts: Facts, quality: Quality, image: NDArray[np.uint8]) -> Verdict:
        """All rules on a decoded film; `image` is its input, uint8 [size, size].

        Raises:
            EngineError: the network failed.
        """
        if self._network is None:
            return self.decide(facts, quality, None)
        return self.decide(facts, quality, self._network.look(image[None, None])[0])

    def decide(self, facts: Facts, quality: Quality, sight: Sight | None) -> Verdict:
        """The verdict when the pixels have been looked at; `sight` is None where no network looked."""
        faults = [*header_faults(facts, self.policy), *(name for name, applies in QUALITY_RULES if applies(quality))]
        measured = quality.as_dict()
        if sight and self._limit:
            if "view_missing" in faults and scored_view(sight, self.policy) >= self._limit.accepted:
                faults.remove("view_missing")
            if "orientation" in faults and sight.rotated < UPRIGHT:
                faults.remove("orientation")
            faults += pixel_faults(sight, self._limit, self.policy)
            if "view_pixels" in faults and "view_missing" in faults:
                faults.remove("view_missing")  # the pixels say more than the missing attribute
            measured |= sight.as_dict()
        return Verdict(
            reason=next((reason for reason in faults if reason not in self.policy.mark), None),
            notes=tuple(reason for reason in faults if reason in self.policy.mark),
            measured=measured,
        )


def open_gate(bundle: Bundle, policy: Policy) -> Gate:
    """The bundle's gate. Without a network in the bundle, only header and quality count.

    Raises:
        EngineError: ONNX Runtime refuses the network.
        BundleError: it has other thresholds than this version knows.
    """
    if bundle.gate is None:
        return Gate(policy)
    try:
        limit = Thresholds(**bundle.gate["thresholds"])
    except (KeyError, TypeError) as error:
        raise BundleError(f"gate of bundle {bundle.name}: missing or unknown threshold ({error})") from None
    return Gate(policy, network=GateNetwork(bundle), limit=limit)
