"""A bundle with a gate: the network trained, its thresholds chosen on validation films, measured, and written anew.

The thresholds together refuse at most BUDGET of the eligible validation films (PA, adult), and at most SOURCE_BUDGET of
those of a source that has LEAST_OF_SOURCE. The first three pixel rules (no chest film, inverted, turned) refuse none of
these films; what is refused of them is refused for its view. The split test is only measured, through the same
`Gate.decide` that serves.
"""

import tempfile
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
from numpy.typing import NDArray

from model.bundle import GATE, Bundle, derive, refuse_existing
from model.data.ages import is_adult
from model.data.bundle_films import require
from model.data.dataset import PARTS, Films, open_prepared
from model.errors import DatasetError
from model.gate.gate_measures import Seen, measure
from model.gate.network import TURNS, VIEWS, GateNetwork, Sight
from model.gate.rims import RIMS, rimmed
from model.gate.rules import Policy, Thresholds, scored_view
from model.gate.training_films import GateFilms, load_auxiliary_views, of_prepared, others, together

BUDGET = 0.02
"""Largest share of eligible validation films that all rules on pixels refuse together."""
SOURCE_BUDGET = 0.05
"""The same of each source that has LEAST_OF_SOURCE such films: one source must not pay for all."""
LEAST_OF_SOURCE = 20
ACCEPTED_AP = 0.05
"""Largest share of AP validation films that would pass for PA if they had no View Position."""
EVEN = 0.5
"""No probability under this refuses, however well the films are told apart."""
PICTURES = 350
BATCH = 64
Train = Callable[[GateFilms, Path], dict[str, Any]]
"""Films to learn from, and where gate.onnx goes -> the recipe."""


def build_gate(
    bundle: Bundle,
    folder: Path,
    out: Path,
    *,
    train: Train,
    auxiliary: Sequence[Path] = (),
    command: str,
    pictures: int = PICTURES,
) -> Bundle:
    """Write `out`: the bundle's files, gate.onnx, and in its manifest `gate`: labels, thresholds, metrics, provenance.

    Args:
        folder: what `xrayq prepare --views all` wrote.
        train: trains the network; the caller brings it, because it needs torch.
        auxiliary: auxiliary sets, whose films name their views.
        pictures: how many that are no chest film are drawn, to measure each split.

    Raises:
        BundleError: `out` exists.
        DatasetError: not a prepared set, prepared otherwise than the bundle needs, or without both views in a split.
    """
    refuse_existing(out)
    policy = Policy()
    films, spec = open_prepared(folder)
    require(bundle, folder, spec)
    films = films.where(lambda film: is_adult(film.age, policy.min_age))
    splits = {name: films.where(lambda film, name=name: film.part == name) for name in PARTS}  # type: ignore[misc]
    for name in ("train", "val"):
        if missing := {"PA", "AP"} - {film.view for film in splits[name].records}:
            raise DatasetError(f"{folder} has no {' and no '.join(sorted(missing))} films in {name}: --views all")
    lessons = of_prepared(splits["train"])
    held_out = frozenset(film.patient for name in PARTS[1:] for film in splits[name].records)
    more = [
        load_auxiliary_views(one, spec=spec, min_age=policy.min_age, without_patients=held_out) for one in auxiliary
    ]
    lessons = together([lessons, *more]) if more else lessons
    with tempfile.TemporaryDirectory() as scratch:
        recipe = train(lessons, Path(scratch) / GATE)
        network = GateNetwork(replace(bundle, path=Path(scratch)))
        seen = {name: look(network, splits[name], pictures) for name in ("val", "test") if len(splits[name])}
        limit = choose_thresholds(seen["val"], policy)
        record = {
            "labels": list(VIEWS),
            "thresholds": asdict(limit),
            "metrics": {name: measure(sights, limit, policy).as_dict() for name, sights in seen.items()},
            "provenance": {
                "created": datetime.now(UTC).isoformat(timespec="seconds"),
                "command": command,
                "recipe": recipe,
                "train": {
                    "films": len(lessons.views),
                    "auxiliary": len(lessons.views) - len(splits["train"]),
                    "views": {name: int((lessons.views == number).sum()) for number, name in enumerate(VIEWS[:2])},
                },
                "chosen_on": f"val: at most {BUDGET:.0%} of eligible films, and {SOURCE_BUDGET:.0%} of a source's, "
                "refused by all rules on pixels together",
                "lateral": "no lateral film was learned from or measured",
                "onnxruntime": onnxruntime.__version__,
            },
        }
        return derive(bundle, out, files={GATE: Path(scratch) / GATE}, gate=record)


def look(network: GateNetwork, films: Films, pictures: int) -> Seen:
    """What the network sees in the films, as they are and changed, and in drawn pictures that are no films."""
    images = films.images
    made, random = others(images, pictures, seed=len(images)), np.random.default_rng(len(images))
    return Seen(
        films=films,
        plain=_sights(network, images),
        turned={
            degrees: _sights(network, np.rot90(images, quarters, axes=(2, 3)))
            for quarters, degrees in enumerate(TURNS)
            if degrees
        },
        inverted=_sights(network, 255 - images),
        rimmed={
            name: _sights(network, np.stack([rimmed(image[0], kind, random)[None] for image in images]))
            for name, kind in RIMS.items()
        },
        others=_sights(network, made),
    )


def choose_thresholds(seen: Seen, policy: Policy) -> Thresholds:
    """Thresholds from validation films."""
    numbers = seen.eligible(policy.min_age)
    good = [seen.plain[number] for number in numbers]
    sure = {
        "other": max(EVEN, _above(sight.view["OTHER"] for sight in good)),
        "inverted": max(EVEN, _above(sight.inverted for sight in good)),
        "rotated": max(EVEN, _above(sight.rotated for sight in good)),
        "distance": _above(sight.distance for sight in good),
    }
    wrong = [1.0 - scored_view(sight, policy) for sight in good]
    sources = [seen.films.records[number].source for number in numbers]
    limits = [_exceeded(wrong, BUDGET)]
    for source in {source for source in sources if sources.count(source) >= LEAST_OF_SOURCE}:
        own = [value for value, name in zip(wrong, sources, strict=True) if name == source]
        limits.append(_exceeded(own, SOURCE_BUDGET))
    ap = [
        scored_view(sight, policy)
        for sight, film in zip(seen.plain, seen.films.records, strict=True)
        if film.view == "AP"
    ]
    accepted = max(EVEN, _exceeded(ap, ACCEPTED_AP))
    return Thresholds(view=max(EVEN, *limits), accepted=accepted, **sure)


def _sights(network: GateNetwork, images: NDArray[np.uint8]) -> list[Sight]:
    parts = (np.ascontiguousarray(images[at : at + BATCH]) for at in range(0, len(images), BATCH))
    return [sight for part in parts for sight in network.look(part)]


def _exceeded(values: list[float], share: float) -> float:
    """A threshold that at most this share of the values reaches."""
    return _above(sorted(values, reverse=True)[int(share * len(values)) :])


def _above(values: Iterable[float]) -> float:
    """The smallest number of four digits over all of them."""
    return round(float(np.floor(max(values) * 1e4) / 1e4) + 1e-4, 4)
