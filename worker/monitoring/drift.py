"""Do a day's films and scores still look like the frozen reference? Per sending AE and measure, for the night's report.

Each AE is held beside its own reference alone: devices differ. Drift is two things at once: sure (the q-value over all
tests of the night) and large. Two tests look for it. One is for films that all moved: the two-sample test, and the
population stability index beyond what chance gives (`model.stats.shift`). One is for some that went wrong beside others
that did not, which the first hardly sees: the share of films outside the middle 99 % of the reference
(`model.stats.outside`).

What it cannot say: whether the device changed or its patients did. A weekend, or an AE that begins to serve another
ward, is drift too. The same reference is used every night, so that a reference that is unlike its device by chance
raises its alarms again and again. Tests take films as independent. One film of each study counts, because with every
film twice 81 of 600 quiet nights raised an alarm, and 0 with each once (bootstrap of 828 real films); patients who come
on several days still count as others: with all films of a patient drawn together, 3 of 600 nights did.
"""

from array import array
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import timedelta
from itertools import chain

import numpy as np
from sqlalchemy import Connection

from model.errors import StatisticsError
from model.stats import outside, shift
from worker.db.film_measures import Key, MeasuredValue, of_pixels, of_scores
from worker.db.span import Span
from worker.db.tables import instance
from worker.monitoring.drift_reference import Reference, references, sample_of
from worker.monitoring.drift_result import LEAST_OUTSIDE, DriftOptions, DriftResult, DriftTest, Quantiles, Untested

LONGER_DAYS = 7
"""Where a day has too few films. An alarm then stays for as many nights."""
HINT_Q = 0.05
"""A large difference that is this sure is noted, and raises no alarm. Few films differ largely by chance alone."""
SHARES = (5, 25, 50, 75, 95)
"""Percentiles shown of what raised an alarm."""


@dataclass(frozen=True, kw_only=True)
class Chosen:
    """What is tested for one key."""

    values: "array[float]"
    days: int


def evaluate(connection: Connection, span: Span, options: DriftOptions) -> DriftResult:
    """Test a day against the references in force now.

    Films count once for each study. With fewer than `least_films` of a day, those of the seven times 24 hours before
    its end are tested. Films of the time from which a reference was frozen are not tested against it.
    """
    frozen = references(connection)
    day = _gather(connection, span, frozen)
    seen = {(key.calling_ae, key.measure) for key in day}
    current = {key for key in frozen if key in day or (key.calling_ae, key.measure) not in seen}  # no other bundle's
    few = {key.calling_ae for key in current if len(day.get(key, ())) < options.least_films}
    week = _gather(connection, Span(start=span.end - timedelta(days=LONGER_DAYS), end=span.end), frozen, few)
    chosen: dict[Key, Chosen] = {}
    for key in current | set(day):
        today = day.get(key, array("d"))
        days = LONGER_DAYS if key in frozen and len(today) < options.least_films else 1
        chosen[key] = Chosen(values=today if days == 1 else week.get(key, array("d")), days=days)
    tested = {key: films for key, films in chosen.items() if key in frozen and len(films.values) >= options.least_films}
    left = {key: films for key, films in chosen.items() if key not in tested}
    tests, unusable = _tests(connection, frozen, tested, options)
    untested = [*_untested(frozen, left, options), *unusable]
    return DriftResult(
        tests=tuple(tests),
        untested=tuple(sorted(untested, key=lambda one: (one.calling_ae, one.measure, one.bundle))),
        frozen=tuple(frozen[key] for key in sorted(frozen)),
        options=options,
    )


def _gather(
    connection: Connection, span: Span, frozen: dict[Key, Reference], calling_aes: Iterable[str] | None = None
) -> "dict[Key, array[float]]":
    """The span's values of each key, without those of its reference. Eight bytes each."""
    which = [span.covers(instance.c.received_at)]
    if calling_aes is not None:
        names = sorted(calling_aes)
        if not names:
            return {}
        which.append(instance.c.calling_ae.in_(names))
    found: dict[Key, array[float]] = {}
    values: Iterable[MeasuredValue] = chain(of_pixels(connection, *which), of_scores(connection, *which))
    for key, at, value in values:
        reference = frozen.get(key)
        if reference is None or not reference.holds(at):
            found.setdefault(key, array("d")).append(value)
    return found


def _tests(
    connection: Connection, frozen: dict[Key, Reference], tested: dict[Key, Chosen], options: DriftOptions
) -> tuple[list[DriftTest], list[Untested]]:
    """All of them, of both kinds, are one family. And those that no test can be made of, as of a number that is none:
    they must not end the night."""
    found, unusable = [], []
    for key in sorted(tested):
        reference, films = (np.asarray(values) for values in (sample_of(connection, key), tested[key].values))
        try:
            compared, counted = shift.compare(reference, films), outside.count(reference, films)
        except StatisticsError as error:
            unusable.append(_untested_of(key, tested[key], str(error)))
            continue
        found.append((key, compared, counted, _quantiles(reference, films)))
    qs = shift.q_values([p for _, compared, counted, _ in found for p in (compared.p, counted.p)])
    tests = [
        _test(key, tested[key], frozen[key], compared, counted, pair, quantiles, options)
        for (key, compared, counted, quantiles), pair in zip(found, zip(qs[::2], qs[1::2], strict=True), strict=True)
    ]
    return tests, unusable


def _test(
    key: Key,
    films: Chosen,
    reference: Reference,
    compared: shift.Shift,
    counted: outside.Outside,
    qs: tuple[float, float],
    quantiles: Quantiles,
    options: DriftOptions,
) -> DriftTest:
    q, outside_q = qs
    large, many = compared.excess >= options.psi, counted.excess >= LEAST_OUTSIDE
    moved, outliers = q <= options.alpha and large, outside_q <= options.alpha and many
    if moved or outliers:
        note = " and ".join(word for word, told in (("drift", moved), ("outliers", outliers)) if told)
    elif q <= HINT_Q and large:
        note = "large, not yet sure"
    elif outside_q <= HINT_Q and many:
        note = "outliers, not yet sure"
    elif min(qs) <= options.alpha:
        note = "sure, but small"
    else:
        note = ""
    return DriftTest(
        calling_ae=key.calling_ae,
        measure=key.measure,
        bundle=key.bundle_digest,
        films=len(films.values),
        days=films.days,
        reference_films=reference.films,
        psi=round(compared.psi, 4),
        psi_by_chance=round(compared.psi_by_chance, 4),
        p=float(f"{compared.p:.3g}"),
        q=float(f"{q:.3g}"),
        median=round(compared.median, 4),
        reference_median=round(compared.reference_median, 4),
        usual=(round(counted.low, 4), round(counted.high, 4)),
        outside=round(counted.share, 4),
        outside_by_chance=round(counted.share_by_chance, 4),
        outside_p=float(f"{counted.p:.3g}"),
        outside_q=float(f"{outside_q:.3g}"),
        moved=moved,
        outliers=outliers,
        note=note,
        quantiles=quantiles if moved or outliers else None,
    )


def _quantiles(reference: shift.Values, films: shift.Values) -> Quantiles:
    of_reference, of_films = (
        tuple(round(float(value), 4) for value in np.percentile(values, SHARES)) for values in (reference, films)
    )
    return Quantiles(shares=SHARES, reference=of_reference, films=of_films)


def _untested(frozen: dict[Key, Reference], left: dict[Key, Chosen], options: DriftOptions) -> list[Untested]:
    bundles = Counter((key.calling_ae, key.measure) for key in frozen)
    found = []
    for key, films in sorted(left.items()):
        if key in frozen and key.bundle_digest and not films.values:
            continue  # nothing came, and `brightness` says so
        if key in frozen:
            why = f"too few films: {len(films.values)} of {options.least_films} needed, in {films.days} days"
        elif bundles[key.calling_ae, key.measure]:
            why = (
                f"another bundle scores than the reference is of, and their scores cannot be compared; a new reference "
                f"is frozen with {options.reference_films} films"
            )
        else:
            why = f"no reference yet: it is frozen with {options.reference_films} films"
        found.append(_untested_of(key, films, why))
    return found


def _untested_of(key: Key, films: Chosen, why: str) -> Untested:
    return Untested(
        calling_ae=key.calling_ae,
        measure=key.measure,
        bundle=key.bundle_digest,
        films=len(films.values),
        days=films.days,
        why=why,
    )
