"""The shipped bundle's model card: `python -m model.pages.card > model/CARD.md`. A test keeps the two together.

Every figure is from the bundle's manifest or from `EVALUATION`, the evaluation.json that `xrayq evaluate` wrote for it.
"""

import json
import sys
from collections.abc import Iterable
from typing import Any

from model.bundle import REFERENCE, SHIPPED, Bundle, load
from model.findings import FINDINGS

EVALUATION = SHIPPED / "reference.evaluation.json"
PARTS = {"train": "train, PA", "val": "val, PA (chosen on it)", "test": "**test, PA**", "test_all": "test, all views"}
RIVALS = {
    "svm": "SVM on the same training films",
    "svm_own_views": "SVM on the PA training films",
    "shortcut": "five source statistics, no lung seen",
}
NOT_SHOWN = {"history", "intended_use", "pretraining"}

HEAD = """# Model card: {name} {version}

**Research software. Not a medical device.** Digest `{short}`, {created}.

## What it is

ResNet50 (He et al. 2015) with the head of a 2020 student paper on COVID-19 in chest films: average pool to 3x3x2048,
dropout 0.4, one linear layer to normal / pneumonia / COVID-19. Input: one grey channel, the film's central square
shrunk to {size} x {size} by area averaging, windowed, its {low:g} to {high:g} percentiles stretched. Output: softmax
at {calibration}, fitted on the validation split. The pool leaves out the last row and column of the 7x7
feature map, as the paper's does: the bottom and right seventh of a film are seen only through overlapping fields.

## What it was measured to do

Films of the data's own split, patients exclusive, scored by `{engine}`: the default engine where the
CPU is faster in int8. In fp32 the accuracy is {fp32}. Brackets are 95 % intervals: exact
(Clopper-Pearson), or by bootstrap over patients where marked +. The weights kept, the calibration and the operating
points were chosen on `val` in fp32, never on `test`: rates on val look better than they are. ECE: ten bins of equal
mass by the called class's probability, cut by mid-rank, ties together. `xrayq evaluate` regenerates all of it.

"""

TAIL = """
## What it can and cannot do

- **It is weak, and it is for research.** About one test film in three is called wrongly. The paper reports .924: from
  ImageNet weights, on a test set with ten COVID films, with the accuracy of three splits looked at on that test set,
  with bedside (AP) films and children among the pneumonias and some test patients in training. None of that is here,
  and these weights had no ImageNet to start from.
- Normal against pneumonia is the hard pair: many pneumonia labels are words mined from reports, and radiologists
  disagree with many of them on posteroanterior films. Confirmed labels are measured apart above.
- COVID films come from other sources than the rest, so part of what looks like disease is origin. Cropping to a square
  and stretching percentiles removes the easiest shortcuts (shape, brightness), not borders, markers and the look of a
  journal figure. The only films of a second hospital's normals (actualmed) were all called wrongly.
- Adults, posteroanterior. Children and lateral films are refused by their tags, bedside (AP) films by tags and pixels.
- COVID films are from 2020. The disease, its variants and its treatment have changed.
- Intended use: research and evaluation of the software. Not to find, rule out or follow disease in a person.

## Data

Public adult chest films: NIH ChestX-ray14 (NIH Clinical Center; Wang et al., CVPR 2017), the COVID-19 image data
collection (Cohen et al. 2020, per-image licences), the Hannover COVID-19 repository (CC BY 3.0), Actualmed and Figure 1
COVID-19 collections (research use). The trunk was first trained on {pretrained:,} films, of Kermany et al. 2018 (CC BY
4.0) and NIH. No film is part of this project.

## How it was made

"""


def card(bundle: Bundle, evaluation: dict[str, Any]) -> str:
    """The card as Markdown. Raises ValueError when the evaluation is of another bundle."""
    if evaluation["bundle"]["digest"] != bundle.digest:
        raise ValueError(f"the evaluation is of bundle {evaluation['bundle']['digest'][:12]}, not {bundle.digest[:12]}")
    made = bundle.provenance
    head = HEAD.format(
        name=bundle.name,
        version=bundle.version,
        short=bundle.digest[:12],
        created=made["created"][:10],
        size=bundle.preprocess.size,
        low=bundle.preprocess.stretch_low,
        high=bundle.preprocess.stretch_high,
        calibration=bundle.calibration.words,
        engine=evaluation["engine"]["name"],
        fp32=" and ".join(f"{bundle.metrics[name]['accuracy']['value']:.3f} on {name}" for name in ("val", "test")),
    )
    lines = [f"- {key.replace('_', ' ')}: {plain(value)}" for key, value in made.items() if key not in NOT_SHOWN]
    pretraining = made["pretraining"]
    lines += [f"- pretraining, {key.replace('_', ' ')}: {plain(value)}" for key, value in pretraining.items()]
    tail = TAIL.format(pretrained=pretraining["films"])
    return head + "\n".join(_measured(evaluation)) + "\n" + tail + "\n".join(lines) + "\n"


def _measured(evaluation: dict[str, Any]) -> Iterable[str]:
    parts = evaluation["parts"]
    yield from _table(["", *PARTS.values()], _of_parts([parts[name] for name in PARTS]))
    yield ""
    yield "Beside others on the same test films:"
    yield ""
    yield from _table(
        [
            "",
            "accuracy, PA",
            "recall of COVID-19, PA",
            "accuracy, all views",
            "network minus it, PA +",
            "McNemar p, PA",
        ],
        _beside(evaluation),
    )
    yield ""
    yield "Slices of the test films (sources and labels: PA only):"
    yield ""
    yield from _table(
        ["", "films", "accuracy", *(f"recall, {name}" for name in FINDINGS)],
        (
            [
                f"{one['group']}: {one['name']}",
                str(sum(one["films"].values())),
                _estimate(one["accuracy"]),
                *(_estimate(one["recall"][name]) for name in FINDINGS),
            ]
            for one in evaluation["slices"]
            if one["group"] != "all"
        ),
    )
    fair = evaluation["fair"]["test_all"]
    yield ""
    yield (
        f"The fair slice, pneumonia against COVID-19 within one source ({evaluation['fair']['source']}, all views, "
        f"{fair['network']['films']} films): AUROC {_estimate(fair['network']['auroc'])} +, source statistics "
        f"{_estimate(fair['shortcut']['auroc'])} +, SVM {_estimate(fair['svm']['auroc'])} +."
    )
    for study in evaluation["studies"]:
        yield ""
        yield f"{study['title']}. {study['note']}"
        yield ""
        rows = (row for row in study["rows"] if not str(row[0]).isdigit())  # the report has each resplit
        yield from _table(study["columns"], ([str(cell) for cell in row] for row in rows))


def _of_parts(parts: list[dict[str, Any]]) -> Iterable[list[str]]:
    def row(name: str, cells: Iterable[str]) -> list[str]:
        return [name, *cells]

    summaries = [part["summary"] for part in parts]
    yield row("films", (str(one["films"]) for one in summaries))
    yield row("accuracy", (_estimate(one["accuracy"]) for one in summaries))
    balanced = (
        {"value": one["balanced_accuracy"], "interval95": one["bootstrap"]["balanced_accuracy"]} for one in summaries
    )
    yield row("balanced accuracy +", map(_estimate, balanced))
    for measure in ("recall", "precision"):
        for name in FINDINGS:
            yield row(f"{measure}, {name}", (_estimate(one[measure][name]) for one in summaries))
    for name in FINDINGS:
        yield row(f"AUROC, {name} +", (_estimate(part["curves"][name]["roc"]["auroc"]) for part in parts))
    after = [part["reliability"]["after"] for part in parts]
    errors = ({"value": one["ece"], "interval95": one["ece_interval95"]} for one in after)
    yield row("calibration error (ECE) +", map(_estimate, errors))
    for name, flag in parts[0]["flags"].items():
        for rate in ("sensitivity", "specificity"):
            cells = (_estimate(part["flags"][name][rate]) for part in parts)
            yield row(f"flag {name} at {flag['threshold']:.4f}, {rate}", cells)


def _beside(evaluation: dict[str, Any]) -> Iterable[list[str]]:
    def figures(test: dict[str, Any], everything: dict[str, Any]) -> list[str]:
        return [_estimate(test["accuracy"]), _estimate(test["recall"]["covid19"]), _estimate(everything["accuracy"])]

    parts = evaluation["parts"]
    yield ["**this network**", *figures(parts["test"]["summary"], parts["test_all"]["summary"]), "", ""]
    for name, words in RIVALS.items():
        rival, against = evaluation["baselines"].get(name), evaluation["against"].get(name)
        if rival and against:
            measured = figures(rival["test"]["summary"], rival["test_all"]["summary"])
            difference, p = against["test"]["accuracy"], against["test"]["mcnemar"]["p"]
            low, high = difference["interval95"]
            yield [words, *measured, f"{difference['value']:+.3f} [{low:+.2f}, {high:+.2f}]", f"{p:.3f}"]
    yield ["guessing", "0.333", "0.333", "0.333", "", ""]
    theirs = evaluation["paper"]["cnn"]["test"]
    yield ["the 2020 paper, on its own films", f"{theirs['accuracy']}", f"{theirs['recall']['covid19']}", "", "", ""]


def _table(columns: list[str], rows: Iterable[list[str]]) -> Iterable[str]:
    yield f"| {' | '.join(columns)} |"
    yield "|" + "---|" * len(columns)
    yield from (f"| {' | '.join(row)} |" for row in rows)


def _estimate(found: dict[str, Any]) -> str:
    if found["value"] is None:
        return "-"
    interval = found["interval95"]
    return f"{found['value']:.3f}" + (f" [{interval[0]:.2f}, {interval[1]:.2f}]" if interval else "")


def plain(value: object) -> str:
    """A value of a manifest in one line."""
    if isinstance(value, dict):
        return "; ".join(f"{key} {plain(one)}" for key, one in value.items())
    return ", ".join(str(one) for one in value) if isinstance(value, list) else str(value)


if __name__ == "__main__":
    sys.stdout.write(card(load(REFERENCE), json.loads(EVALUATION.read_text(encoding="utf-8"))))
