"""calibration.json and calibration.html: a calibration as one page that opens without a network."""

from collections.abc import Iterable
from pathlib import Path
from typing import Any

from markupsafe import Markup
from matplotlib import rc_context
from matplotlib.figure import Figure

from model.calibrating.calibrate import Calibrated
from model.decision import SENSITIVITY, SPECIFICITY
from model.evaluation.evaluate import json_text
from model.notice import MEASURES_NOTICE
from model.pages import figures
from model.pages.figures import ACCENT, PALE, QUIET, STYLE, WIDTH, Chart, said_estimate
from model.pages.html import figure, page, paragraph, section, table

PARTS = {"val": "validation", "test": "test", "site": "the site's films"}
FILES = ("calibration.json", "calibration.html")


def write(made: Calibrated, out: Path) -> None:
    out.mkdir(parents=True, exist_ok=True)
    for name, text in zip(FILES, (json_text(made.content), render(made.content)), strict=True):
        (out / name).write_text(text, encoding="utf-8")


def render(content: dict[str, Any]) -> str:
    """The whole page; the same calibration gives the same text."""
    bundle, basis = content["bundle"], content["data"]
    head = Markup(
        "<h1>Calibration of bundle {name} {version}</h1>"
        '<p class="quiet">New bundle {made} from {digest}, the same network. Films: {origin}, digest {films}. '
        "Brackets are 95 % intervals: exact for shares of films, by bootstrap over patients for the rest; exact ones "
        "take films as independent.</p>"
    ).format(
        name=bundle["name"],
        version=bundle["version"],
        made=content["made"][:12],
        digest=bundle["digest"][:12],
        origin=basis["origin"],
        films=basis["digest"][:12],
    )
    parts = (
        ("probabilities", "Are the probabilities true?", _probabilities(content)),
        ("intervals", "How well a probability is known", _intervals(content)),
        ("flags", "Operating points", _flags(content)),
        ("sets", "Prediction sets", _sets(content)),
        ("variants", "Faster variants", _variants(content)),
    )
    body = [head, *(section(anchor, title, *built) for anchor, title, built in parts)]
    return page(f"Calibration of {bundle['name']} {bundle['version']}", MEASURES_NOTICE, body)


def _probabilities(content: dict[str, Any]) -> Iterable[Markup]:
    for name, part in content["parts"].items():
        yield figure(
            figures.reliability(part["reliability"]),
            f"{_named(name, part)}. Bins of equal size; bars are exact intervals. "
            "On the films a calibration was fitted on in training, 'as it was' looks better than it is.",
        )
    rows = []
    for name, part in content["parts"].items():
        for when, one in part["reliability"].items():
            expected = one["ece_if_true"]
            measured = [
                said_estimate({"value": one[key], "interval95": one[f"{key}_interval95"]})
                for key in ("ece", "brier", "log_loss")
            ]
            measured.insert(1, f"{expected['mean']:.3f}, up to {expected['high95']:.3f}")
            measured.insert(2, said_estimate(one["by_finding"]))
            rows.append((f"{PARTS[name]}, {when}", *measured))
    columns = ("films", "ECE", "ECE if all were true", "error by finding", "Brier score, 0 to 2", "log loss, nats")
    yield table(columns, rows, caption="Before and after")
    yield paragraph(
        "ECE: calibration error of the called class, in ten bins of equal mass. On few films it is above 0 even where "
        "every probability is true: the next column says by how much on average, and in 95 % of draws. Error by "
        "finding: the same for each finding's own probability, the mean of all. Brier score and log loss are proper: "
        "they are least for the true probabilities."
    )
    held = content["calibration"]["record"]["held_out"]
    rows = [(name, f"{one['log_loss']:.4f}", f"{one['brier']:.4f}") for name, one in held.items()]
    record = content["calibration"]["record"]
    yield table(
        ("method", "log loss", "Brier score"),
        rows,
        caption="What decided between temperature and vector scaling: films held out by patient, "
        f"{record['folds']} folds, {record['repeats']} times. Taken: {content['calibration']['method']}",
    )


def _intervals(content: dict[str, Any]) -> Iterable[Markup]:
    bins = content["calibration"]["bins"]
    yield figure(
        intervals(bins),
        "Of the calibration films with about this probability, so many had the finding (line), and the exact interval "
        "of that share (band). The service gives the band beside each probability.",
    )
    rows = [
        (f"{name}, up to {one['up_to']:.3f}", one["films"], one["positives"], _pair(one["interval95"]))
        for name, own in bins.items()
        for one in own
    ]
    yield table(("probability", "films", "with the finding", "interval"), rows, caption="The same as numbers")


def intervals(bins: dict[str, list[dict[str, Any]]]) -> Chart:
    """Observed shares with exact intervals over the bins of each finding."""
    with rc_context(STYLE):
        drawn = Figure(figsize=(WIDTH, 3.7), layout="constrained")
        axes = drawn.subplots(1, len(bins), sharey=True, squeeze=False)[0]
        said = []
        for axis, (name, own) in zip(axes, bins.items(), strict=True):
            axis.plot([0, 1], [0, 1], color=QUIET, linewidth=0.8, linestyle=":")
            begin = 0.0
            for one in own:
                low, high = one["interval95"]
                share = one["positives"] / one["films"]
                axis.fill_between([begin, one["up_to"]], low, high, color=PALE, linewidth=0)
                axis.plot([begin, one["up_to"]], [share, share], color=ACCENT, linewidth=1.5)
                axis.plot((begin + one["up_to"]) / 2, share, marker="o", markersize=4.5, color=ACCENT)
                said.append(f"{name} up to {one['up_to']:.2f}: {share:.2f} [{low:.2f}, {high:.2f}]")
                begin = one["up_to"]
            axis.set(title=name, xlabel="stated probability", xlim=(-0.01, 1.01), ylim=(-0.01, 1.02))
            axis.grid(color=PALE, linewidth=0.6)
            axis.set_axisbelow(True)
        axes[0].set_ylabel("share that had the finding")
        return figures.chart(drawn, f"Observed share by stated probability, with exact intervals. {'; '.join(said)}.")


def _flags(content: dict[str, Any]) -> Iterable[Markup]:
    rows = [
        (
            one["id"],
            f"p ≥ {one['threshold']:.4f}",
            f"{one['sensitivity']:.3f} {_pair(one['sensitivity_interval95'])}, n={one['positives']}",
            f"{one['specificity']:.3f} {_pair(one['specificity_interval95'])}, n={one['negatives']}",
        )
        for one in content["operating_points"]
    ]
    columns: tuple[str, ...] = ("operating point", "threshold", SENSITIVITY, SPECIFICITY)
    yield table(columns, rows, caption="As chosen, on the films that they were chosen on")
    measured = []
    for name, part in content["parts"].items():
        for identifier, found in part["flags"].items():
            needed = found["films_needed"]
            measured.append(
                (
                    f"{identifier}, {_named(name, part)}",
                    *(f"{said_estimate(found[rate])}, n={found[rate]['n']}" for rate in (SENSITIVITY, SPECIFICITY)),
                    *("enough" if needed[rate] is None else needed[rate] for rate in (SENSITIVITY, SPECIFICITY)),
                )
            )
    columns = ("operating point, films", SENSITIVITY, SPECIFICITY, "positives needed", "negatives needed")
    yield table(
        columns, measured, caption="As measured. Needed: films for an interval of at most ± .05 around the same rate"
    )


def _sets(content: dict[str, Any]) -> Iterable[Markup]:
    sets = content["conformal"]
    limits = ", ".join(f"{name} p ≥ {limit:.4f}" for name, limit in sets["limits"].items())
    yield paragraph(
        f"A film's set holds every finding whose probability reaches its limit: {limits}. Promised: of new films of "
        f"each finding {sets['coverage']:.0%} have it in their set, as long as they are of the kind of the calibration "
        "films. A set that is not exactly one finding is an abstention."
    )
    findings = list(sets["limits"])
    rows = [
        (
            _named(name, part),
            said_estimate(part["sets"]["coverage"]),
            *(said_estimate(part["sets"]["by_finding"][finding]) for finding in findings),
            *(f"{share['value']:.2f}" for share in part["sets"]["sizes"].values()),
            said_estimate(part["sets"]["abstentions"]),
        )
        for name, part in content["parts"].items()
    ]
    sizes = [f"sets of {size}" for size in next(iter(content["parts"].values()))["sets"]["sizes"]]
    columns = ("films", "coverage", *(f"of {finding}" for finding in findings), *sizes, "abstentions")
    yield table(columns, rows, caption="As measured")


def _variants(content: dict[str, Any]) -> Iterable[Markup]:
    if not content["variants"]:
        yield paragraph("The bundle had none.")
    for name, found in content["variants"].items():
        measured = next(
            (
                f"flags change on {found[part]['films_with_other_flags']} of {found[part]['films']} films of "
                f"{PARTS[part]}"
                for part in content["parts"]
                if part in found
            ),
            "not measured",
        )
        verdict = "kept" if found["kept"] else f"left out: {'; '.join(found['faults'])}"
        yield paragraph(f"{name}: {measured}; {verdict}.")


def _named(name: str, part: dict[str, Any]) -> str:
    return f"{PARTS[name]} ({part['how']})"


def _pair(bounds: Iterable[float]) -> str:
    low, high = bounds
    return f"[{low:.2f}, {high:.2f}]"
