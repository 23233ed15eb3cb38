"""Each score of a film once more from film and bundle, or why that cannot be done now."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from model.bundle import Bundle
from model.errors import ModelError
from model.preprocess import PreprocessSpec
from worker.bundles.replay import Opener, replay
from worker.db.scores import ScoreView
from worker.errors import WorkerError

FindBundle = Callable[[str], Bundle]
"""By digest. Raises BundleError where it is not here, or not whole."""
ReadFilm = Callable[[Path, PreprocessSpec], NDArray[np.uint8]]
"""A film as input [size, size]. Raises WorkerError."""


def replays(
    scores: list[ScoreView], film: Path | str, find_bundle: FindBundle, read: ReadFilm, open_engine: Opener
) -> list[dict[str, Any]]:
    """JSON-ready, one for each score: as `xrayq instance replay --json` says it, or with `why_not`.

    Args:
        film: its path, or why there is none.
    """
    return [_replayed(score, film, find_bundle, read, open_engine) for score in scores]


def _replayed(
    score: ScoreView, film: Path | str, find_bundle: FindBundle, read: ReadFilm, open_engine: Opener
) -> dict[str, Any]:
    try:
        if isinstance(film, str):
            raise WorkerError(film)
        bundle = find_bundle(score.bundle_digest)
        return replay(score, bundle, lambda spec: read(film, spec), open_engine).as_dict()
    except (WorkerError, ModelError, OSError) as error:
        return {"role": score.role, "bundle_digest": score.bundle_digest, "agrees": None, "why_not": str(error)}
