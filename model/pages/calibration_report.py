"""calibration.json and calibration.html: a calibration as one page that opens without a network."""

from collections.abc import Iterable
from pathlib import Path

from markupsafe import Markup

from model.atomic_files import write_texts
from model.calibrating.calibration_content import Calibrated, CalibrationContent
from model.calibrating.measured_part import MeasuredPart
from model.calibration import Bin, Calibration
from model.decision import SENSITIVITY, SPECIFICITY
from model.evaluation.evaluate import json_text
from model.notice import MEASURES_NOTICE
from model.pages import figures
from model.pages.html import figure, page, paragraph, section, table
from model.pages.svg import ACCENT, PALE, QUIET, Chart, canvas, chart
from model.pages.texts import estimate_text, number_text, promise_text
from model.stats.estimate import Interval
from model.stats.operating_points import PREVALENCES, predictive_values
from model.stats.repeated_films import independence_note, patient_note

PARTS = {"val": "validation", "test": "test", "site": "the site's films"}
STATED = (0.02, 0.05, 0.1, 0.2, 0.3, 0.5, 0.7, 0.9, 0.95)
"""Probabilities whose intervals are given as numbers."""
FILES = ("calibration.json", "calibration.html")


def write(calibrated: Calibrated, out: Path) -> None:
    out.mkdir(parents=True, exist_ok=True)
    texts = json_text(calibrated.content), render(calibrated.content)
    write_texts({out / name: text for name, text in zip(FILES, texts, strict=True)})


def render(content: CalibrationContent) -> str:
    """The whole page; the same calibration gives the same text."""
    bundle, basis = content.bundle, content.data
    many = independence_note(counts for part in content.parts.values() for counts in part.counts)
    head = Markup(
        "<h1>Calibration of bundle {name} {version}{device}</h1>"
        '<p class="quiet">New bundle {called}, {made}, from {digest}, the same network, {words}. '
        "Films: {origin}, digest {films}. "
        "Brackets are 95 % intervals: exact for shares of films, over patients for the rest; exact ones "
        "take films as independent.{many}{no_patient}</p>"
    ).format(
        name=bundle.name,
        version=bundle.version,
        device=f" for device {content.device.name}: {content.device.words}" if content.device else "",
        called=f"{content.name} {content.version}",
        words=content.calibration.words,
        made=content.made[:12],
        digest=bundle.digest[:12],
        origin=basis.origin,
        films=basis.digest[:12],
        many=f" {many}" if many else "",
        no_patient=f" {patient_note(basis.films_as_patients)}." if basis.films_as_patients else "",
    )
    parts = (
        ("probabilities", "Are the probabilities true?", _probabilities(content)),
        ("intervals", "How well a probability is known", _intervals(content)),
        ("flags", "Operating points", _flags(content)),
        ("sets", "Prediction sets", _sets(content)),
        ("variants", "Faster variants", _variants(content)),
    )
    body = [head, *(section(anchor, title, *built) for anchor, title, built in parts)]
    return page(f"Calibration of {bundle.name} {bundle.version}", MEASURES_NOTICE, body)


def _probabilities(content: CalibrationContent) -> Iterable[Markup]:
    for name, part in content.parts.items():
        yield figure(
            figures.reliability(part.reliability),
            f"{_named(name, part)}. Bins of equal size; bars are exact intervals. "
            "On the films a calibration was fitted on in training, 'as it was' looks better than it is.",
        )
    rows = []
    for name, part in content.parts.items():
        for when, reliability in part.reliability.items():
            ece, brier, log_loss = map(estimate_text, reliability.scores)
            in_bins = number_text(reliability.ece_in_bins)
            chance = f"{reliability.ece_if_true.mean:.3f}, up to {reliability.ece_if_true.high95:.3f}"
            by_finding = estimate_text(reliability.by_finding)
            rows.append((f"{PARTS[name]}, {when}", ece, in_bins, chance, by_finding, brier, log_loss))
    chance_columns = ("ECE", "in bins", "if all were true", "error by finding")
    columns = ("films", *chance_columns, "Brier score, 0 to 2", "log loss, nats")
    yield table(columns, rows, caption="Before and after")
    yield paragraph(
        "ECE: calibration error of the called class, in ten bins of equal mass, beyond what chance explains; 0 where "
        "chance explains all. In bins: as the bins show it, which on few films is above 0 even where every probability "
        "is true; the next column says by how much on average, and in 95 % of draws. An interval that begins above 0 "
        "is a sign of wrong probabilities; one that begins at 0 is none of true ones: its upper end says how wrong "
        "they may be. Error by "
        "finding: the same for each finding's own probability, the mean of all. Brier score and log loss are proper: "
        "they are least for the true probabilities."
    )
    record = content.calibration.record
    held_out = record["held_out"]
    yield table(
        ("method", "log loss", "Brier score"),
        [(name, f"{scores['log_loss']:.4f}", f"{scores['brier']:.4f}") for name, scores in held_out.items()],
        caption="What decided between none, temperature and vector scaling: films held out by patient, "
        f"{record['folds']} folds, {record['repeats']} times. Taken: {content.calibration.method}",
    )


def _intervals(content: CalibrationContent) -> Iterable[Markup]:
    bins = content.calibration.bins
    yield figure(
        intervals(bins),
        "Of films with the stated probability, the share that has the finding lies in the band, with 95 % confidence "
        "for each probability. It holds for every network that does not rank the finding the wrong way round, so it is "
        "wide where there are few films. The service gives the band beside each probability.",
    )
    calibration = content.calibration
    rows = [(name, *(_pair(calibration.interval(name, stated)) for stated in STATED)) for name in bins]
    yield table(("finding", *(f"at {stated:g}" for stated in STATED)), rows, caption="The same as numbers")


def intervals(bins: dict[str, tuple[Bin, ...]]) -> Chart:
    """The interval of each probability of each finding, as a band."""
    with canvas(3.7) as drawn:
        axes = drawn.subplots(1, len(bins), sharey=True, squeeze=False)[0]
        words = []
        for axis, (name, own) in zip(axes, bins.items(), strict=True):
            axis.plot([0, 1], [0, 1], color=QUIET, linewidth=0.8, linestyle=":")
            ends = [0.0, *(group.up_to for group in own)]
            low, high = zip(*(group.interval95 for group in own), strict=True)
            axis.fill_between(ends, (low[0], *low), (high[0], *high), step="pre", color=PALE, linewidth=0)
            axis.step(ends, (low[0], *low), where="pre", color=ACCENT, linewidth=1)
            axis.step(ends, (high[0], *high), where="pre", color=ACCENT, linewidth=1)
            axis.set(title=name, xlabel="stated probability", xlim=(-0.01, 1.01), ylim=(-0.01, 1.02))
            axis.grid(color=PALE, linewidth=0.6)
            axis.set_axisbelow(True)
            middle = Calibration(temperature=1.0, bins={name: own}).interval(name, 0.5)
            words.append(f"{name} at .5: {_pair(middle)}")
        axes[0].set_ylabel("share that has the finding")
        return chart(drawn, f"Interval of the share with the finding, by probability. {'; '.join(words)}.")


def _flags(content: CalibrationContent) -> Iterable[Markup]:
    rows = [
        (
            point.id,
            f"p ≥ {point.threshold:.4f}",
            promise_text(point),
            f"{point.sensitivity:.3f} {_pair(point.sensitivity_interval95)}, n={point.positives}",
            f"{point.specificity:.3f} {_pair(point.specificity_interval95)}, n={point.negatives}",
        )
        for point in content.operating_points
    ]
    yield table(
        ("operating point", "threshold", "promise", SENSITIVITY, SPECIFICITY),
        rows,
        caption="As chosen, on the films that they were chosen on. A specificity is of all films without the finding. "
        "Thresholds are for probabilities as these films are mixed; stated prevalences change no flag",
    )
    measured, predicted = [], []
    for name, part in content.parts.items():
        for identifier, flag in part.flags.items():
            needed = (flag.films_needed.sensitivity, flag.films_needed.specificity)
            rates = (flag.sensitivity, flag.specificity, flag.negatives_flagged)
            about = f"{identifier}, {_named(name, part)}"
            measured.append(
                (
                    about,
                    *(f"{estimate_text(rate)}, {rate.counts}" for rate in rates),
                    *("enough" if films is None else films for films in needed),
                )
            )
            values = [predictive_values(flag, prevalence) for prevalence in PREVALENCES]
            predicted.append((about, *(estimate_text(own) for value in values for own in (value.ppv, value.npv))))
    columns = (SENSITIVITY, SPECIFICITY, f"flagged of {content.bundle.findings[0]}")
    yield table(
        ("operating point, films", *columns, "positives needed", "negatives needed"),
        measured,
        caption="As measured. Needed: films for an interval of at most ± .05 around the same rate",
    )
    yield table(
        ("operating point, films", *(f"{value}, {share:.0%}" for share in PREVALENCES for value in ("PPV", "NPV"))),
        predicted,
        caption="Where 1, 5 or 20 % of the films have the finding: of the flagged films the share that has it (PPV), "
        "of the others the share that has it not (NPV). The prevalence is taken as known",
    )


def _sets(content: CalibrationContent) -> Iterable[Markup]:
    sets = content.conformal
    limits = ", ".join(f"{name} p ≥ {limit:.4f}" for name, limit in sets.limits.items())
    yield paragraph(
        f"A film's set holds every finding whose probability reaches its limit: {limits}. Promised: of new films of "
        f"each finding {sets.coverage:.0%} have it in their set, as long as they are of the kind of the calibration "
        "films. A set that is not exactly one finding leaves the film unsure."
    )
    findings = list(sets.limits)
    rows = [
        (
            _named(name, part),
            estimate_text(part.sets.coverage),
            *(estimate_text(part.sets.by_finding[finding]) for finding in findings),
            *(f"{share.value:.2f}" for share in part.sets.sizes.values()),
            estimate_text(part.sets.abstentions),
        )
        for name, part in content.parts.items()
    ]
    sizes = [f"sets of {size}" for size in next(iter(content.parts.values())).sets.sizes]
    columns = ("films", "coverage", *(f"of {finding}" for finding in findings), *sizes, "unsure")
    yield table(columns, rows, caption="As measured")


def _variants(content: CalibrationContent) -> Iterable[Markup]:
    if not content.variants:
        yield paragraph("The bundle had none.")
    elif content.device:
        yield paragraph("What was measured of them is of the bundle's own flags; of the device's flags nothing was.")
    for name, variant in content.variants.items():
        measured = next(
            (
                f"flags change on {agreement.films_with_other_flags} of {agreement.films} films of {PARTS[part]}"
                for part, agreement in variant.agreement.items()
            ),
            "not measured",
        )
        done = "made anew" if variant.remade else "left out"
        verdict = "kept" if variant.kept else f"{done}: {'; '.join(variant.faults)}"
        yield paragraph(f"{name}: {measured}; {verdict}.")


def _named(name: str, part: MeasuredPart) -> str:
    return f"{PARTS[name]} ({part.how})"


def _pair(bounds: Interval | None) -> str:
    if bounds is None:
        return ""
    low, high = bounds
    return f"[{low:.2f}, {high:.2f}]"
