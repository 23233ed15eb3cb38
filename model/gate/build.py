"""A bundle with a gate: the network trained, its thresholds chosen on validation films, measured, and written anew.

The thresholds together refuse at most BUDGET of the eligible validation films (PA, adult). That there is no film, that
it is inverted or that it is turned may cost none of them; the view may cost what is left. The split test is only
measured, through the same `Gate.decide` that serves.
"""

import tempfile
from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
from numpy.typing import NDArray

from model.bundle import GATE, Bundle, derive, refuse_existing
from model.data.bundle_films import require
from model.data.dataset import FilmRow, Films, open_prepared
from model.errors import DatasetError
from model.gate.films import KINDS, GateFilms, load_auxiliary_views, of_prepared, others
from model.gate.network import TURNS, VIEWS, GateNetwork, Sight
from model.gate.quality import Quality
from model.gate.rules import Facts, Gate, Policy, Thresholds, Verdict, scored_view
from model.stats.binomial import proportion

BUDGET = 0.02
"""Largest share of eligible validation films that all rules on pixels refuse together."""
ACCEPTED_AP = 0.05
"""Largest share of AP validation films that would pass for PA if they had no View Position."""
EVEN = 0.5
"""No probability under this refuses, however well the films are told apart."""
PICTURES = 350
BATCH = 64
GOOD = Quality(rows=1024, columns=1024, contrast=1.0, entropy=6.0, clipped=0.0, brightness=0.5)
"""Prepared films have lost their size and grey scale: the rules on quality are measured elsewhere."""
Train = Callable[[GateFilms, Path], dict[str, Any]]
"""Films to learn from, and where gate.onnx goes -> the recipe."""


@dataclass(frozen=True, kw_only=True)
class Seen:
    """What the network sees in the films of one split, as they are and changed."""

    films: Films
    plain: list[Sight]
    turned: dict[int, list[Sight]]
    """By degrees."""
    inverted: list[Sight]
    others: list[Sight]

    def eligible(self, min_age: float) -> list[int]:
        """Numbers of the films that should be scored."""
        return [number for number, film in enumerate(self.films.records) if film.view == "PA" and adult(film, min_age)]


def build_gate(
    bundle: Bundle,
    folder: Path,
    out: Path,
    *,
    train: Train,
    auxiliary: Path | None,
    command: str,
    policy: Policy | None = None,
    pictures: int = PICTURES,
) -> Bundle:
    """Write `out`: the bundle's files, gate.onnx, and in its manifest `gate`: labels, thresholds, metrics, provenance.

    Args:
        folder: what `xrayq prepare --views all` wrote.
        train: trains the network; the caller brings it, because it needs torch.
        auxiliary: more films with views; None for none.
        policy: what is eligible: by default PA films of adults.
        pictures: that are no chest film, made to measure each split.

    Raises:
        BundleError: `out` exists.
        DatasetError: not a prepared set, prepared otherwise than the bundle needs, or without both views in a split.
    """
    refuse_existing(out)
    policy = policy or Policy()
    films, spec = open_prepared(folder)
    require(bundle, folder, spec)
    films = films.where(lambda film: adult(film, policy.min_age))
    splits = {name: films.where(lambda film, name=name: film.split == name) for name in ("train", "val", "test")}  # type: ignore[misc]
    for name in ("train", "val"):
        if missing := {"PA", "AP"} - {film.view for film in splits[name].records}:
            raise DatasetError(f"{folder} has no {' and no '.join(sorted(missing))} films in {name}: --views all")
    lessons = of_prepared(splits["train"])
    if auxiliary:
        held_out = frozenset(film.patient for name in ("val", "test") for film in splits[name].records)
        more = load_auxiliary_views(auxiliary, spec=spec, min_age=policy.min_age, without_patients=held_out)
        lessons = GateFilms(
            images=np.concatenate([lessons.images, more.images]), views=np.concatenate([lessons.views, more.views])
        )
    with tempfile.TemporaryDirectory() as scratch:
        recipe = train(lessons, Path(scratch) / GATE)
        network = GateNetwork(replace(bundle, path=Path(scratch)))
        seen = {name: look(network, splits[name], pictures) for name in ("val", "test") if len(splits[name])}
        limit = choose(seen["val"], policy)
        record = {
            "labels": list(VIEWS),
            "thresholds": asdict(limit),
            "metrics": {name: measure(one, limit, policy) for name, one in seen.items()},
            "provenance": {
                "created": datetime.now(UTC).isoformat(timespec="seconds"),
                "command": command,
                "recipe": recipe,
                "train": {
                    "films": len(lessons.views),
                    "auxiliary": len(lessons.views) - len(splits["train"]),
                    "views": {name: int((lessons.views == number).sum()) for number, name in enumerate(VIEWS[:2])},
                },
                "chosen_on": f"val: at most {BUDGET:.0%} of eligible films refused by all rules on pixels together",
                "lateral": "no lateral film was learned from or measured",
                "onnxruntime": onnxruntime.__version__,
            },
        }
        return derive(bundle, out, files={GATE: Path(scratch) / GATE}, gate=record)


def adult(film: FilmRow, min_age: float) -> bool:
    return film.age is None or film.age >= min_age


def look(network: GateNetwork, films: Films, pictures: int) -> Seen:
    """The films, and pictures that are none, as they are and changed."""
    images = films.images
    made = others(images, pictures, seed=len(images))
    return Seen(
        films=films,
        plain=_sights(network, images),
        turned={
            degrees: _sights(network, np.rot90(images, quarters, axes=(2, 3)))
            for quarters, degrees in enumerate(TURNS)
            if degrees
        },
        inverted=_sights(network, 255 - images),
        others=_sights(network, made),
    )


def choose(seen: Seen, policy: Policy) -> Thresholds:
    """Thresholds from validation films."""
    numbers = seen.eligible(policy.min_age)
    good = [seen.plain[number] for number in numbers]
    sure = {
        "other": max(EVEN, _above(sight.view["OTHER"] for sight in good)),
        "inverted": max(EVEN, _above(sight.inverted for sight in good)),
        "rotated": max(EVEN, _above(sight.rotated for sight in good)),
        "distance": _above(sight.distance for sight in good),
    }
    wrong = sorted((1.0 - scored_view(sight, policy) for sight in good), reverse=True)
    view = max(EVEN, _above(wrong[int(BUDGET * len(good)) :]))
    ap = [
        scored_view(sight, policy)
        for sight, film in zip(seen.plain, seen.films.records, strict=True)
        if film.view == "AP"
    ]
    accepted = max(EVEN, _above(sorted(ap, reverse=True)[int(ACCEPTED_AP * len(ap)) :]))
    return Thresholds(view=view, accepted=accepted, **sure)


def measure(seen: Seen, limit: Thresholds, policy: Policy) -> dict[str, Any]:
    """Rates with exact 95 % intervals, of films of one split. JSON-ready."""
    gate, good = Gate(policy, limit=limit), seen.eligible(policy.min_age)
    records = seen.films.records
    ap = [number for number, film in enumerate(records) if film.view == "AP"]
    known = [(records[number], seen.plain[number]) for number in (*good, *ap)]

    def verdicts(sights: Iterable[Sight], tag: str = "PA") -> list[Verdict]:
        facts = Facts(modality=policy.modalities[0], body_part="", views=(tag,) if tag else (), age_years=None)
        return [gate.decide(facts, GOOD, sight) for sight in sights]

    def share(found: list[Verdict], reason: str | None = None) -> dict[str, Any]:
        """Refused for this reason, or for any."""
        return proportion(sum(one.reason == reason if reason else one.reason is not None for one in found), len(found))

    def accuracy(pairs: list[tuple[FilmRow, Sight]]) -> dict[str, Any]:
        right = [film.view == ("PA" if sight.view["PA"] >= sight.view["AP"] else "AP") for film, sight in pairs]
        return proportion(sum(right), len(right))

    eligible, wrong_tag = verdicts(seen.plain[number] for number in good), verdicts(seen.plain[number] for number in ap)
    untagged = {
        "PA": verdicts((seen.plain[number] for number in good), ""),
        "AP": verdicts((seen.plain[number] for number in ap), ""),
    }

    def by(name: str, found: list[Verdict]) -> dict[str, Any]:
        """Of the eligible films, those that are not scored, by source or label: a gate must not pick out a disease."""
        groups = [getattr(records[number], name) for number in good]
        pairs = list(zip(groups, found, strict=True))
        return {group: share([one for other, one in pairs if other == group]) for group in sorted(set(groups))}

    sources = sorted({film.source for film, _ in known})
    kinds = list(KINDS)
    return {
        "view": {
            "accuracy": accuracy(known),
            "recall": {name: accuracy([pair for pair in known if pair[0].view == name]) for name in ("PA", "AP")},
            "by_source": {
                source: {
                    name: accuracy([pair for pair in known if pair[0].source == source and pair[0].view == name])
                    for name in ("PA", "AP")
                }
                for source in sources
            },
        },
        "eligible_refused": share(eligible)
        | {"reasons": dict(Counter(one.reason for one in eligible if one.reason))}
        | {"by_source": by("source", eligible), "by_label": by("label", eligible)},
        "ap_tagged_pa_refused": share(wrong_tag),
        "untagged_pa_refused": {"by_source": by("source", untagged["PA"]), "by_label": by("label", untagged["PA"])},
        "untagged_scored": {
            name: proportion(sum(one.reason is None for one in found), len(found)) for name, found in untagged.items()
        },
        "turned": {
            str(degrees): {
                "refused": share(found := verdicts(sights[number] for number in good)),
                "rotated": share(found, "rotated"),
            }
            for degrees, sights in seen.turned.items()
        },
        "inverted": {
            "refused": share(found := verdicts(seen.inverted[number] for number in good)),
            "inverted": share(found, "inverted"),
        },
        "made_others": {
            name: share(verdicts(seen.others[number :: len(kinds)]), "not_a_chest_film")
            for number, name in enumerate(kinds)
        },
    }


def _sights(network: GateNetwork, images: NDArray[np.uint8]) -> list[Sight]:
    parts = (np.ascontiguousarray(images[at : at + BATCH]) for at in range(0, len(images), BATCH))
    return [sight for part in parts for sight in network.look(part)]


def _above(values: Iterable[float]) -> float:
    """The smallest number of four digits over all of them."""
    return round(float(np.floor(max(values) * 1e4) / 1e4) + 1e-4, 4)
