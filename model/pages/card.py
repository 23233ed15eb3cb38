"""The shipped bundle's model card: `python -m model.pages.card > model/CARD.md`. A test keeps the two together.

Every figure is from the bundle's manifest or from `EVALUATION`, the evaluation.json that `xrayq evaluate` wrote for it.
"""

import json
import sys
from collections.abc import Iterable
from functools import reduce
from operator import getitem
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
RECALLS = tuple(f"recall of {name}, PA" for name in FINDINGS)
BESIDE = ("", "accuracy, PA", *RECALLS, "accuracy, all views", "network minus it, PA +", "McNemar p, PA")
NOT_SHOWN = {"history", "intended_use", "pretraining"}
SPLITS = {"val": "val (thresholds chosen on it)", "test": "**test**"}
DRAWN = {
    "limb": "limbs",
    "page": "pages of text",
    "shapes": "shapes",
    "gradient": "gradients",
    "noise": "noise",
    "part": "parts of films",
    "tiles": "films cut into shuffled tiles",
}
"""Pictures made for the gate: key in the bundle's manifest -> words."""

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

GATE = """
## The gate

A small network in the bundle looks at each film before it is scored. Its thresholds refuse at most 2 % of the eligible
validation films. Below: share of the films (how many), with the exact 95 % interval. "Refused" counts all rules on
pixels together.

"""

GATE_LIMITS = """
**View from pixels depends on the source of a film.** The films of NIH are told apart, the PA films of ieee8023 mostly
not. Sources differ in their labels, so the gate refuses COVID-19 and pneumonia films for their view more often than
normal ones. Send View Position (0018,5101): then the pixels decide less. No lateral film and no photograph was learned
from or measured; a lateral film may pass. Mirrored films are not looked for: the scoring network is trained on both
sides. Time on one core of a shared virtual machine (AMD EPYC), gate and int8 inference: 0.9 and 32 ms a film on
2026-11-23, 0.3 and 15 ms on 2026-11-28.
"""

INT8 = """
## In int8

The bundle also holds the network in int8, which CPUs run faster. `XRAYQ_ENGINE=onnxruntime` serves fp32 everywhere.
Difference: of a probability in int8 from the same in fp32.

"""

INT8_LIMITS = """
Int8 is less steady than fp32: one grey level in one pixel of a hundred moves a probability by up to .015 (2026-11-23).
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
    variant, gate = bundle.variants.get("int8"), bundle.gate
    int8 = INT8 + "\n".join(_int8(variant)) + "\n" + INT8_LIMITS if variant else ""
    looked = GATE + "\n".join(_gate(gate["metrics"])) + "\n" + GATE_LIMITS if gate else ""
    return head + "\n".join(_measured(evaluation)) + "\n" + int8 + looked + tail + "\n".join(lines) + "\n"


def _measured(evaluation: dict[str, Any]) -> Iterable[str]:
    parts = evaluation["parts"]
    yield from _table(["", *PARTS.values()], _of_parts([parts[name] for name in PARTS]))
    yield ""
    yield "Beside others on the same test films:"
    yield ""
    yield from _table([*BESIDE], _beside(evaluation))
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
        recalls = (_estimate(test["recall"][name]) for name in FINDINGS)
        return [_estimate(test["accuracy"]), *recalls, _estimate(everything["accuracy"])]

    parts = evaluation["parts"]
    yield ["**this network**", *figures(parts["test"]["summary"], parts["test_all"]["summary"]), "", ""]
    for name, words in RIVALS.items():
        rival, against = evaluation["baselines"].get(name), evaluation["against"].get(name)
        if rival and against:
            measured = figures(rival["test"]["summary"], rival["test_all"]["summary"])
            difference, p = against["test"]["accuracy"], against["test"]["mcnemar"]["p"]
            low, high = difference["interval95"]
            yield [words, *measured, f"{difference['value']:+.3f} [{low:+.2f}, {high:+.2f}]", f"{p:.3f}"]
    yield ["guessing", *["0.333"] * (len(FINDINGS) + 2), "", ""]
    theirs = evaluation["paper"]["cnn"]["test"]
    recalls = (f"{theirs['recall'][name]}" for name in FINDINGS)
    yield ["the 2020 paper, on its own films", f"{theirs['accuracy']}", *recalls, "", "", ""]


def _int8(variant: dict[str, Any]) -> Iterable[str]:
    measured = [variant[name] for name in SPLITS]
    rows = [
        ["films", *(str(one["films"]) for one in measured)],
        ["mean difference", *(f"{one['mean_difference']:.4f}" for one in measured)],
        ["largest difference", *(f"{one['largest_difference']:.4f}" for one in measured)],
        ["films with other flags", *(str(one["films_with_other_flags"]) for one in measured)],
    ]
    yield from _table(["", "val", "**test**"], rows)


def _gate(metrics: dict[str, Any]) -> Iterable[str]:
    measured = [metrics[name] for name in SPLITS]

    def row(words: str, *path: str) -> list[str]:
        return [words, *(_share(reduce(getitem, path, one)) for one in measured)]

    yield from _table(
        ["", *SPLITS.values()],
        [
            row("PA told from AP", "view", "accuracy"),
            row("PA films refused", "eligible_refused"),
            row("AP films called PA by their tag: refused", "ap_tagged_pa_refused"),
            row("without a tag: PA films scored", "untagged_scored", "PA"),
            row("without a tag: AP films scored", "untagged_scored", "AP"),
            *(row(f"turned by {turn} degrees: refused", "turned", turn, "refused") for turn in ("90", "180", "270")),
            row("inverted: refused", "inverted", "refused"),
        ],
    )
    yield ""
    yield "By source and label, PA films:"
    yield ""
    told, refused = metrics["test"]["view"]["by_source"], metrics["test"]["untagged_pa_refused"]
    rows = [[f"{name}: called PA", _share(told[name]["PA"])] for name in sorted(told) if told[name]["PA"]["n"]]
    rows += [[f"{name}, without a tag: refused", _share(refused["by_label"][name])] for name in FINDINGS]
    yield from _table(["", SPLITS["test"]], rows)
    yield ""
    yield "Pictures drawn for this, which are no films: share refused."
    yield ""
    made = metrics["test"]["made_others"]
    yield from _table(["", "share"], [[words, _share(made[name])] for name, words in DRAWN.items()])


def _share(found: dict[str, Any]) -> str:
    return f"{_estimate(found)} ({found['n']})"


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
