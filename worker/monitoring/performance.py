"""Live scores against truth: rates with intervals, and an alarm when one leaves where it was calibrated.

Only films of the random sample (`label_sample`) have rates that stand for all films, and alarms. Rates are by label:
how common a finding is makes no difference to them. What readers say of other films is shown apart. Films of an X-ray
device that has a calibration of its own in the bundle are held against that one, apart from the rest.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import Connection, Engine, func, select

from model.bundle import Bundle
from model.decision import OperatingPoint, has
from model.findings import negative_of
from model.stats.binomial import interval, proportion
from model.stats.sequential import ALPHA, Outcome, watch
from worker.db.scores import IS_LIVE, live_findings
from worker.db.session import snapshot
from worker.db.tables import finding_score, instance, score
from worker.monitoring.label_sample import last_reset, order_of_draws
from worker.monitoring.labels import Truth, truths
from worker.monitoring.live_rates import (
    ChosenRate,
    DeviceRates,
    FindingRates,
    LabelRate,
    OtherLabels,
    Performance,
    SampleRates,
)

CHUNK = 500


@dataclass(frozen=True, kw_only=True)
class ScoredFilm:
    """A film that the bundle scored live, and what is known of it."""

    instance_id: int
    received_at: datetime
    flags: frozenset[str]
    device: str
    """Whose calibration of the bundle it took; "" for the bundle's own."""
    calling_ae: str


def performance(engine: Engine, bundle: Bundle) -> Performance:
    """As `performance_of`, in a snapshot of its own."""
    with snapshot(engine) as connection:
        return performance_of(connection, bundle)


def performance_of(connection: Connection, bundle: Bundle) -> Performance:
    """Compare the live scores of a bundle with what readers say, drawn films in the order of the draws.

    Args:
        connection: of a snapshot, so that labels, draws and scores are of one moment.
    """
    scored, flagged = _counts(connection, bundle.digest)
    reset = last_reset(connection)
    labels, drawn = truths(connection), order_of_draws(connection)
    films = scored_films(connection, bundle.digest, sorted({*labels, *drawn}))
    of_sample = set(drawn)
    others = {
        key: labels[key]
        for key in sorted(labels)
        if key in films and key not in of_sample and (reset is None or films[key].received_at >= reset.at)
    }
    sample = [films[key] for key in drawn if key in films]
    names = ("", *(device.name for device in bundle.devices))
    watched = sum(len(_references(bundle.for_device(name))) for name in names)
    own, *devices = (
        DeviceRates(
            device=name,
            sample=_sample(
                bundle.for_device(name),
                [film for film in sample if film.device == name],
                labels,
                ALPHA / max(1, watched),
            ),
        )
        for name in names
    )
    return Performance(
        bundle_digest=bundle.digest,
        scored=scored,
        flagged=flagged,
        since=reset.at if reset else None,
        reason=reset.reason if reset else "",
        sample=own.sample,
        others=_others(bundle, films, others),
        devices=tuple(devices),
    )


def _references(bundle: Bundle) -> dict[tuple[str, str], tuple[float, float]]:
    """By flag and label, where its rate was calibrated; each is watched."""
    found = {
        (point.finding, label): _calibrated(point, label, negative_of(bundle.findings))
        for point in bundle.operating_points
        for label in bundle.findings
    }
    return {key: interval for key, interval in found.items() if interval is not None}


def _sample(bundle: Bundle, films: Sequence[ScoredFilm], labels: dict[int, Truth], alpha: float) -> SampleRates:
    """Args:
    bundle: as it is for these films.
    films: in the order of the draws.
    alpha: chance of a false alarm for each rate.
    """
    labelled = [(film, labels[film.instance_id].label if film.instance_id in labels else None) for film in films]
    references = _references(bundle)
    return SampleRates(
        drawn=len(films),
        labelled=sum(label is not None for _, label in labelled),
        disputed=sum(film.instance_id in labels and label is None for film, label in labelled),
        findings=tuple(
            _rates(
                point,
                labelled,
                {label: references.get((point.finding, label)) for label in bundle.findings},
                negative_of(bundle.findings),
                alpha,
            )
            for point in bundle.operating_points
        ),
    )


def _rates(
    point: OperatingPoint,
    films: Sequence[tuple[ScoredFilm, str | None]],
    calibrated: dict[str, tuple[float, float] | None],
    negative: str,
    alpha: float,
) -> FindingRates:
    name = point.finding
    by_label = []
    for label, reference in calibrated.items():
        positive = has(name, label, negative)
        outcomes = [
            Outcome((name in film.flags) == positive, known=said is not None)
            for film, said in films
            if said in (label, None)
        ]
        by_label.append(LabelRate(label=label, positive=positive, rate=watch(outcomes, reference, alpha=alpha)))
    known = [(name in film.flags, has(name, said, negative)) for film, said in films if said is not None]
    flagged = [positive for flag, positive in known if flag]
    unflagged = [not positive for flag, positive in known if not flag]
    return FindingRates(
        finding=name,
        by_label=tuple(by_label),
        ppv=proportion(sum(flagged), len(flagged)),
        npv=proportion(sum(unflagged), len(unflagged)),
    )


def _calibrated(point: OperatingPoint, label: str, negative: str) -> tuple[float, float] | None:
    """The interval of a rate on the films that the operating point was chosen on; None where the bundle has no such
    films, or does not say."""
    flagged, films = point.flagged_of(label, negative) or (0, 0)
    if not films:
        return None
    return interval(flagged if has(point.finding, label, negative) else films - flagged, films)


def _others(bundle: Bundle, films: dict[int, ScoredFilm], labels: dict[int, Truth]) -> OtherLabels:
    negative = negative_of(bundle.findings)
    said = [(films[key].flags, truth.label) for key, truth in labels.items() if truth.label is not None]
    rates = []
    for point in bundle.operating_points:
        for label in bundle.findings:
            wanted = has(point.finding, label, negative)
            right = [(point.finding in flags) == wanted for flags, other in said if other == label]
            rates.append(ChosenRate(finding=point.finding, label=label, right=proportion(sum(right), len(right))))
    return OtherLabels(
        labelled=len(said),
        flagged=sum(bool(flags) for flags, _ in said),
        disputed=len(labels) - len(said),
        rates=tuple(rates),
    )


def _counts(connection: Connection, digest: str) -> tuple[int, int]:
    """Live scores of the bundle, and those with any flag."""
    of_bundle = (score.c.bundle_digest == digest) & IS_LIVE
    scored = connection.execute(select(func.count()).select_from(score).where(of_bundle)).scalar_one()
    flagged = connection.execute(
        select(func.count(func.distinct(score.c.id)))
        .join(finding_score, finding_score.c.score_id == score.c.id)
        .where(of_bundle, finding_score.c.flag)
    ).scalar_one()
    return int(scored), int(flagged)


def scored_films(connection: Connection, digest: str, instances: Sequence[int]) -> dict[int, ScoredFilm]:
    """Those of these instances that the bundle scored live, by id. Films of backfills, of other years, are left out."""
    flags: dict[int, set[str]] = {}
    received: dict[int, datetime] = {}
    devices: dict[int, str] = {}
    senders: dict[int, str] = {}
    for at in range(0, len(instances), CHUNK):
        columns = (
            instance.c.id,
            instance.c.received_at,
            instance.c.calling_ae,
            score.c.device,
            finding_score.c.finding,
            finding_score.c.flag,
        )
        rows = connection.execute(
            live_findings(*columns).where(
                instance.c.id.in_(instances[at : at + CHUNK]), ~instance.c.backfilled, score.c.bundle_digest == digest
            )
        )
        for row in rows:
            received[row.id], devices[row.id] = row.received_at, row.device or ""
            senders[row.id] = row.calling_ae
            flags.setdefault(row.id, set()).update({row.finding} if row.flag else ())
    return {
        key: ScoredFilm(
            instance_id=key,
            received_at=received[key],
            flags=frozenset(names),
            device=devices[key],
            calling_ae=senders[key],
        )
        for key, names in flags.items()
    }
