"""Which films a network has seen, as far as its bundle's record tells: its own, its trunk's and its teachers'."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np

from model.bundle import Bundle, trunk_stories
from model.data.auxiliary import READINGS, AuxiliaryFilms
from model.data.dataset import Dataset, Films
from model.errors import DatasetError


def held_out_share(bundle: Bundle) -> float:
    """Share of the auxiliary sets' patients, 0 to 1, that every training behind a bundle left out: the smallest of
    them. 1 where none had auxiliary films, 0 where one does not say."""
    made, stories = bundle.provenance, trunk_stories(bundle)
    shares = [float(story.get("held_out") or 0.0) for story in stories if "films" in story]
    if made.get("auxiliary_digest"):
        shares.append(float(made.get("auxiliary_held_out") or 0.0))
    shares += [float(teacher.get("held_out") or 0.0) for teacher in made.get("teachers", ())]
    if _began_untold(bundle):
        shares.append(0.0)
    return min(shares, default=1.0)


def sources_of(dataset: Dataset, auxiliary: AuxiliaryFilms | None) -> list[str]:
    """Of the films that a training learns from and chooses on, for its record. Of auxiliary films those with a reading
    teach; see `training_material`."""
    found = {film.source for part in ("train", "val") for film in dataset.splits[part].records}
    if auxiliary:
        read = [index for index, label in enumerate(auxiliary.labels) if label in READINGS.values()]
        found |= {auxiliary.sources[row] for row in np.flatnonzero(auxiliary.truth[:, read].any(axis=1))}
    return sorted(found)


def seen_sources(bundle: Bundle) -> list[str] | None:
    """Of all films behind a bundle's network, its teachers' too; None where its record does not say."""
    found = [bundle.provenance.get("sources"), *(sources for _, sources in _teaching(bundle))]
    return sorted({source for sources in found for source in sources or ()}) if all(map(_said, found)) else None


def refuse_seen(bundle: Bundle, source: str, prepared: Films) -> None:
    """Raises DatasetError where a training behind the bundle had films of a source, or does not say.

    Args:
        prepared: the set that the bundle was trained on.
    """
    if any(film.source == source and film.part in ("train", "val") for film in prepared.records):
        raise DatasetError(f"the prepared set has films of {source} in train or val: they are not unseen")
    own = bundle.provenance.get("sources", [])  # where an earlier release did not say, the prepared set did
    for what, sources in (("its own training", own), *_teaching(bundle)):
        if not _said(sources):
            raise DatasetError(f"bundle {bundle.name} does not say of which sources the films of {what} were")
        if source in (sources or ()):
            raise DatasetError(f"bundle {bundle.name}: {what} had films of {source}, they are not unseen")


def require_own_set(bundle: Bundle, dataset: Dataset, folder: Path) -> None:
    """Raises DatasetError where a bundle is not known to be trained on this set: its training may have seen patients
    that the set does not name."""
    if bundle.provenance.get("data_digest") != dataset.digest:
        raise DatasetError(
            f"bundle {bundle.name} was trained on other films than {folder} holds, or does not say on which: no film "
            "can be told to be unseen by it"
        )


def _said(sources: list[str] | None) -> bool:
    """Whether each film has a source; "" stands for none."""
    return sources is not None and "" not in sources


def _teaching(bundle: Bundle) -> Iterator[tuple[str, list[str] | None]]:
    """What taught a network beside its own training, in words, and the sources of its films; None: not said."""
    for story in trunk_stories(bundle):
        if "films" in story:
            labels = story.get("labels")  # before `sources` was recorded, these told
            told = None if labels is None else sorted({str(label).split(":")[0] for label in labels})
            yield "its trunk's pretraining", story.get("sources", told)
    if _began_untold(bundle):
        yield "the file of weights that it began with", None
    for teacher in bundle.provenance.get("teachers", ()):
        yield f"its teacher {teacher['name']}", teacher.get("sources")


def _began_untold(bundle: Bundle) -> bool:
    """Whether the first weights are of a file that no story tells of."""
    stories = trunk_stories(bundle)
    first = stories[-1] if stories else {"initial_weights": "file"} | bundle.provenance
    return str(first.get("initial_weights")).startswith("file")
