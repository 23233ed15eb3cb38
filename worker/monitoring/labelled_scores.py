"""Labelled films of the database with what a bundle said of them, live: what `xrayq simulate` foretells a day from."""

from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from sqlalchemy import Connection, Engine, func, select

from model.bundle import Bundle
from model.conformal import unsure
from model.stats.site_day import LabelledScores
from worker.db.scores import IS_LIVE
from worker.db.session import snapshot
from worker.db.tables import finding_score, instance, score
from worker.monitoring.label_sample import order_of_draws
from worker.monitoring.labels import truths

CHUNK = 500
NOT_SAMPLED = (
    "Not a site's day: these labels are not of a random sample ('xrayq labels sample' draws one). If films were read "
    "because they were flagged, sensitivity looks too high and specificity too low."
)


@dataclass(frozen=True, kw_only=True)
class SiteScores:
    """Labelled films, and whether they stand for the site's."""

    scores: LabelledScores
    sampled: bool
    """They are of the random sample; else they may have been read because they were flagged."""


def labelled_scores(engine: Engine, bundle: Bundle, device: str = "", *, all_labels: bool = False) -> SiteScores:
    """Films with a label that the bundle scored live, one a study: the first of it that has a label.

    Only films of the random sample since the last reset (`label_sample`), where one of them has a label and a score:
    selectively labelled ones foretell no day. Probabilities are made anew from the logits, without a site's
    prevalences: as flags are. The database knows no patients: each study counts as a patient of its own.

    Args:
        device: of the bundle; films that took its calibration alone. "": those that took the bundle's own.
        all_labels: the others too.

    Raises:
        BundleError: no such device.
    """
    bundle = bundle.for_device(device)
    with snapshot(engine) as connection:
        labels = {key: film.label for key, film in truths(connection).items() if film.label in bundle.findings}
        drawn = set() if all_labels else set(order_of_draws(connection))
        of_sample = {key: label for key, label in labels.items() if key in drawn}
        found = _scored(connection, bundle, device, of_sample)
        if len(found):
            return SiteScores(scores=found, sampled=True)
        return SiteScores(scores=_scored(connection, bundle, device, labels), sampled=False)


def _scored(connection: Connection, bundle: Bundle, device: str, labels: Mapping[int, str | None]) -> LabelledScores:
    """Those of these films, by id, that the bundle, which is as it is for this device, scored live for it."""
    found: dict[str, tuple[int, dict[str, float], list[str] | None]] = {}
    keys = sorted(labels)
    for at in range(0, len(keys), CHUNK):
        logits: dict[int, dict[str, float]] = defaultdict(dict)
        about: dict[int, tuple[str, list[str] | None]] = {}
        for row in connection.execute(
            select(
                instance.c.id,
                instance.c.study_instance_uid,
                score.c.prediction_set,
                finding_score.c.finding,
                finding_score.c.logit,
            )
            .join(score, (score.c.instance_id == instance.c.id) & IS_LIVE)
            .join(finding_score, finding_score.c.score_id == score.c.id)
            .where(
                instance.c.id.in_(keys[at : at + CHUNK]),
                score.c.bundle_digest == bundle.digest,
                func.coalesce(score.c.device, "") == device,
                finding_score.c.finding.in_(bundle.findings),
            )
            .order_by(instance.c.id)
        ):
            logits[row.id][row.finding] = row.logit
            about[row.id] = row.study_instance_uid or str(row.id), row.prediction_set
        for key, (study, prediction_set) in about.items():
            found.setdefault(study, (key, logits[key], prediction_set))
    rows = list(found.values())
    logits_of_films = np.array([[own[name] for name in bundle.findings] for _, own, _ in rows], np.float32)
    return LabelledScores(
        findings=bundle.findings,
        chances=bundle.calibration.at_films.probabilities(logits_of_films.reshape(-1, len(bundle.findings))),
        labels=np.array([bundle.findings.index(str(labels[key])) for key, *_ in rows], np.int64),
        patients=tuple(found),
        unsure=np.array([unsure(held) for *_, held in rows], bool) if bundle.conformal else None,
    )
