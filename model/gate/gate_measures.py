"""What a gate does with films of one split: which it refuses, by view, source, label and change."""

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass

from model.data.ages import is_adult
from model.data.dataset import FilmRow, Films
from model.gate.network import Sight
from model.gate.quality import Quality
from model.gate.rules import Facts, Gate, Policy, Thresholds, Verdict
from model.gate.training_films import KINDS
from model.json_value import JsonValue, ReadableJson, SparseJson
from model.stats.binomial import proportion
from model.stats.estimate import Proportion

GOOD = Quality(rows=1024, columns=1024, contrast=1.0, entropy=6.0, clipped=0.0, brightness=0.5)
"""Prepared films have lost their size and grey scale: the rules on quality are measured elsewhere."""


@dataclass(frozen=True, kw_only=True)
class Seen:
    """What the network sees in the films of one split, as they are and changed."""

    films: Films
    plain: list[Sight]
    turned: dict[int, list[Sight]]
    """By degrees."""
    inverted: list[Sight]
    rimmed: dict[str, list[Sight]]
    """By kind of rim."""
    others: list[Sight]

    def eligible(self, min_age: float) -> list[int]:
        """Numbers of the films that should be scored."""
        return [
            number
            for number, film in enumerate(self.films.records)
            if film.view == "PA" and is_adult(film.age, min_age)
        ]


Shares = dict[str, Proportion]


@dataclass(frozen=True, kw_only=True)
class ViewMeasures(JsonValue):
    """Films whose view the network calls as their tag does."""

    accuracy: Proportion
    recall: Shares
    """By view, PA and AP."""
    by_source: dict[str, Shares]
    """Source -> view."""


@dataclass(frozen=True, kw_only=True)
class NotScored(JsonValue):
    """Eligible films that are not scored; a gate must not pick out a disease."""

    by_source: Shares
    by_label: Shares


@dataclass(frozen=True, kw_only=True)
class EligibleRefused(Proportion):
    reasons: dict[str, int]
    by_source: Shares
    by_label: Shares


@dataclass(frozen=True, kw_only=True)
class TurnedRefused(JsonValue):
    """Eligible films turned: refused for any reason, and for that one."""

    refused: Proportion
    rotated: Proportion


@dataclass(frozen=True, kw_only=True)
class InvertedRefused(JsonValue):
    refused: Proportion
    inverted: Proportion


@dataclass(frozen=True, kw_only=True)
class GateMeasures(SparseJson, ReadableJson):
    """Shares with exact 95 % intervals, of films of one split."""

    view: ViewMeasures
    eligible_refused: EligibleRefused
    ap_tagged_pa_refused: Proportion
    untagged_pa_refused: NotScored
    untagged_scored: Shares
    """By true view."""
    turned: dict[str, TurnedRefused]
    """By degrees."""
    inverted: InvertedRefused
    rimmed: Shares | None = None
    """Eligible films in rims of collimation refused, by kind of rim; None in a gate of an earlier release."""
    made_others: Shares
    """Pictures that are no chest film, refused as such, by kind."""


def measure(seen: Seen, limit: Thresholds, policy: Policy) -> GateMeasures:
    """What `Gate.decide` with these thresholds does."""
    gate, good = Gate(policy, limit=limit), seen.eligible(policy.min_age)
    records = seen.films.records
    ap = [number for number, film in enumerate(records) if film.view == "AP"]
    known = [(records[number], seen.plain[number]) for number in (*good, *ap)]

    def verdicts(sights: Iterable[Sight], tag: str = "PA") -> list[Verdict]:
        facts = Facts(modality=policy.modalities[0], body_part="", views=(tag,) if tag else (), age_years=None)
        return [gate.decide(facts, GOOD, sight) for sight in sights]

    def by(column: str, outcomes: list[Verdict]) -> Shares:
        """By source or label of the eligible films."""
        groups = [getattr(records[number], column) for number in good]
        return {
            group: _refused([verdict for own, verdict in zip(groups, outcomes, strict=True) if own == group])
            for group in sorted(set(groups))
        }

    def called(source: str | None = None) -> Shares:
        """By view, of films of one source or of all."""
        return {
            view: _called([pair for pair in known if pair[0].view == view and source in (None, pair[0].source)])
            for view in ("PA", "AP")
        }

    eligible = verdicts(seen.plain[number] for number in good)
    untagged_pa = verdicts((seen.plain[number] for number in good), "")
    untagged_ap = verdicts((seen.plain[number] for number in ap), "")
    inverted = verdicts(seen.inverted[number] for number in good)
    turned = {degrees: verdicts(sights[number] for number in good) for degrees, sights in seen.turned.items()}
    return GateMeasures(
        view=ViewMeasures(
            accuracy=_called(known),
            recall=called(),
            by_source={source: called(source) for source in sorted({film.source for film, _ in known})},
        ),
        eligible_refused=EligibleRefused(
            **vars(_refused(eligible)),
            reasons=dict(Counter(verdict.reason for verdict in eligible if verdict.reason)),
            by_source=by("source", eligible),
            by_label=by("label", eligible),
        ),
        ap_tagged_pa_refused=_refused(verdicts(seen.plain[number] for number in ap)),
        untagged_pa_refused=NotScored(by_source=by("source", untagged_pa), by_label=by("label", untagged_pa)),
        untagged_scored={"PA": _scored(untagged_pa), "AP": _scored(untagged_ap)},
        turned={
            str(degrees): TurnedRefused(refused=_refused(outcomes), rotated=_refused(outcomes, "rotated"))
            for degrees, outcomes in turned.items()
        },
        inverted=InvertedRefused(refused=_refused(inverted), inverted=_refused(inverted, "inverted")),
        rimmed={kind: _refused(verdicts(sights[number] for number in good)) for kind, sights in seen.rimmed.items()},
        made_others={
            kind: _refused(verdicts(seen.others[number :: len(KINDS)]), "not_a_chest_film")
            for number, kind in enumerate(KINDS)
        },
    )


def _refused(outcomes: list[Verdict], reason: str | None = None) -> Proportion:
    """For this reason, or for any."""
    hits = sum(verdict.reason == reason if reason else verdict.reason is not None for verdict in outcomes)
    return proportion(hits, len(outcomes))


def _scored(outcomes: list[Verdict]) -> Proportion:
    return proportion(sum(verdict.reason is None for verdict in outcomes), len(outcomes))


def _called(pairs: list[tuple[FilmRow, Sight]]) -> Proportion:
    """Films whose likelier view is that of their tag."""
    right = sum(film.view == ("PA" if sight.view["PA"] >= sight.view["AP"] else "AP") for film, sight in pairs)
    return proportion(right, len(pairs))
