"""The films of a prepared set that a bundle is for, and what its network says of them."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from model.bundle import Bundle
from model.data.dataset import Dataset, Films, load_dataset
from model.engine.base import Engine
from model.errors import DatasetError
from model.preprocess import PreprocessSpec

BATCH = 16
Advance = Callable[[int, int], None]
"""Called with (films done, films in all)."""
Progress = Callable[[str], None]
"""Called with a line for each step."""


def films_for(bundle: Bundle, folder: Path) -> Dataset:
    """The films of the bundle's views, as its training saw them.

    Raises:
        DatasetError: not a prepared set, prepared otherwise than the bundle needs, no such film in it, or the bundle
            has other findings.
    """
    dataset = load_dataset(folder, views=measured_views(bundle), train_views=_views(bundle, "train_views"))
    if bundle.findings != dataset.findings:
        raise DatasetError(
            f"bundle {bundle.name} finds {', '.join(bundle.findings)}; "
            f"{folder} is labelled with {', '.join(dataset.findings)}"
        )
    require(bundle, folder, dataset.spec)
    return dataset


def require(bundle: Bundle, folder: Path, spec: PreprocessSpec) -> None:
    """Raises DatasetError where the folder was prepared otherwise than the bundle needs."""
    if spec != bundle.preprocess:
        raise DatasetError(
            f"{folder} was prepared with {_words(spec)}, bundle {bundle.name} needs {_words(bundle.preprocess)}: "
            "run 'xrayq prepare' with these"
        )


def logits_of(engine: Engine, films: Films, advance: Advance = lambda _done, _all: None) -> NDArray[np.float32]:
    """[N, findings] of N films."""
    numbers, found = np.arange(len(films)), []
    for at in range(0, len(films), BATCH):
        found.append(engine.infer(films.take(numbers[at : at + BATCH])))
        advance(min(at + BATCH, len(films)), len(films))
    return np.concatenate(found)


def measured_views(bundle: Bundle) -> tuple[str, ...]:
    """Views of the films that the bundle is validated and tested on; empty: all."""
    return _views(bundle, "views")


def _views(bundle: Bundle, which: str) -> tuple[str, ...]:
    """Empty: all."""
    views = bundle.provenance.get(which, bundle.provenance.get("views", ["PA"]))
    return () if list(views) == ["all"] else tuple(views)


def _words(spec: PreprocessSpec) -> str:
    return ", ".join(f"{name} {value:g}" for name, value in spec.as_dict().items())
