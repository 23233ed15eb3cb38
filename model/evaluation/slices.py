"""What a part of the scored films shows, measured as a whole and in slices."""

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import chain

import numpy as np

from model.bundle import Bundle
from model.calibration import probabilities
from model.data.dataset import MORE
from model.decision import OperatingPoint, truth_of
from model.evaluation.groups import Group, groups, whole
from model.evaluation.scored import ScoredFilms
from model.evaluation.shares import PatientProportion, over_patients, share
from model.findings import negative_of
from model.json_value import JsonValue, SparseJson
from model.stats.binomial import proportion
from model.stats.curves import Area, Curves, curves, roc_curve
from model.stats.estimate import Estimate, Proportion
from model.stats.operating_points import Rates
from model.stats.over_patients import PatientIntervals, PatientSummary, patient_summary
from model.stats.reliability import PatientReliability, log_loss_gain, patient_reliability

OWN_VIEWS, EVERY_VIEW = "bundle's views", "every view"


@dataclass(frozen=True, kw_only=True)
class BeforeAndAfter(SparseJson):
    """Before and after the bundle's calibration; before is temperature 1."""

    before: PatientReliability
    after: PatientReliability
    log_loss_gain: Estimate | None = None
    """By how much log loss fell, nats, film by film, with its interval over patients; None in an evaluation of an
    earlier release."""


@dataclass(frozen=True, kw_only=True)
class FlagRates(SparseJson):
    """What a finding's flags are worth; precision is the share of flags that are right."""

    threshold: float
    sensitivity: PatientProportion
    specificity: PatientProportion
    precision: PatientProportion
    negatives_flagged: PatientProportion | None = None
    """Of the films of the negative finding; None in an evaluation of an earlier release, as `PartMeasures.sets`."""

    @property
    def rates(self) -> Rates:
        return Rates(sensitivity=self.sensitivity, specificity=self.specificity)


@dataclass(frozen=True, kw_only=True)
class SetRates(SparseJson):
    """What prediction sets hold, and how many films they leave unsure."""

    coverage: PatientProportion
    """Films whose set holds their finding."""
    unsure: PatientProportion
    """Films whose set names several findings, or none."""
    unsure_by_finding: dict[str, Proportion]
    coverage_by_finding: dict[str, PatientProportion] | None = None
    """None in an evaluation of an earlier release."""


@dataclass(frozen=True, kw_only=True)
class PartSummary(PatientSummary):
    recall: Mapping[str, PatientProportion]
    precision: Mapping[str, PatientProportion]


@dataclass(frozen=True, kw_only=True)
class PartMeasures(SparseJson):
    """One part of the films."""

    films: dict[str, int]
    """By class."""
    patients: int
    summary: PartSummary
    curves: dict[str, Curves]
    """By class."""
    reliability: BeforeAndAfter
    flags: dict[str, FlagRates]
    """By finding with an operating point."""
    sets: SetRates | None = None
    """None where the bundle makes none."""


@dataclass(frozen=True, kw_only=True)
class SliceMeasures(JsonValue):
    """Test films that are alike in one thing."""

    group: str
    """all, view, source, label, sex or age."""
    name: str
    of: str
    """Films it was taken from: the bundle's views, or every view, of test; or more, every view."""
    films: dict[str, int]
    """By class."""
    accuracy: Proportion
    balanced_accuracy: float | None
    """Over the classes that occur."""
    bootstrap: PatientIntervals
    recall: Mapping[str, Proportion]
    auroc: dict[str, Area]

    @property
    def balanced(self) -> Estimate:
        return Estimate(value=self.balanced_accuracy, interval95=self.bootstrap.balanced_accuracy)


def measure(part: ScoredFilms, bundle: Bundle) -> PartMeasures:
    labels, patients, called = part.labels, part.films.patients, part.called
    findings = part.films.findings
    found = patient_summary(part.chances, labels, findings, patients)
    raw = probabilities(part.logits, 1.0)
    recall, precision = {}, {}
    for index, name in enumerate(findings):
        hit = (called == index) & (labels == index)
        recall[name] = over_patients(found.recall[name], hit, labels == index, patients)
        precision[name] = over_patients(found.precision[name], hit, called == index, patients)
    return PartMeasures(
        films=part.films.counts(),
        patients=len(set(patients)),
        summary=PartSummary(**vars(found) | {"recall": recall, "precision": precision}),
        curves=curves(part.chances, labels, findings, patients),
        reliability=BeforeAndAfter(
            before=patient_reliability(raw, labels, patients),
            after=patient_reliability(part.chances, labels, patients),
            log_loss_gain=log_loss_gain(raw, part.chances, labels, patients),
        ),
        flags={point.finding: _flag(point, part) for point in bundle.operating_points},
        sets=_sets(part),
    )


def slices(test: ScoredFilms, test_all: ScoredFilms, more: ScoredFilms | None) -> tuple[SliceMeasures, ...]:
    """Test films in groups: views over all of them, the rest over the bundle's views. Those of `more` over every view,
    apart."""
    found = chain(
        whole("test", OWN_VIEWS, test),
        whole("test", EVERY_VIEW, test_all),
        groups(["view"], EVERY_VIEW, test_all),
        groups(["source", "label", "sex", "age"], OWN_VIEWS, test),
        *((whole(MORE, MORE, more), groups(["view", "source", "sex", "age"], MORE, more)) if more else ()),
    )
    return tuple(map(_slice, found))


def _slice(group: Group) -> SliceMeasures:
    part = group.part
    found = patient_summary(part.chances, part.labels, part.films.findings, part.films.patients)
    return SliceMeasures(
        group=group.kind,
        name=group.name,
        of=group.of,
        films=part.films.counts(),
        accuracy=found.accuracy,
        balanced_accuracy=found.balanced_accuracy,
        bootstrap=found.bootstrap,
        recall=found.recall,
        auroc={
            finding: roc_curve(part.chances[:, index], part.labels == index, part.films.patients).auroc
            for index, finding in enumerate(part.films.findings)
        },
    )


def _flag(point: OperatingPoint, part: ScoredFilms) -> FlagRates:
    positive = truth_of(point.finding, part.labels, part.films.findings)
    flagged = np.array([point.finding in flags for flags in part.flags])

    negative = part.labels == part.films.findings.index(negative_of(part.films.findings))
    return FlagRates(
        threshold=point.threshold,
        sensitivity=share(part, flagged, positive),
        specificity=share(part, ~flagged, ~positive),
        precision=share(part, positive, flagged),
        negatives_flagged=share(part, flagged, negative),
    )


def _sets(part: ScoredFilms) -> SetRates | None:
    unsure = part.unsure
    if part.sets is None or unsure is None:
        return None
    every, labels = np.ones(len(unsure), bool), part.labels
    held = np.array([part.films.findings[label] in found for label, found in zip(labels, part.sets, strict=True)], bool)
    return SetRates(
        coverage=share(part, held, every),
        unsure=share(part, unsure, every),
        unsure_by_finding={
            name: proportion(int(unsure[labels == index].sum()), int((labels == index).sum()))
            for index, name in enumerate(part.films.findings)
        },
        coverage_by_finding={
            name: share(part, held, labels == index) for index, name in enumerate(part.films.findings)
        },
    )
