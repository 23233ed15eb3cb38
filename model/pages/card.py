"""The shipped bundle's model card: `python -m model.pages.card > model/CARD.md`. A test keeps the two together.

Every figure is from the bundle's manifest or from `EVALUATION`, the evaluation.json that `xrayq evaluate` wrote for it.
"""

import json
import sys
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

from model.bundle import REFERENCE, SHIPPED, Bundle, load, trunk_stories
from model.evaluation.comparisons import Difference
from model.evaluation.evaluate import EvaluationContent
from model.evaluation.slices import PartMeasures
from model.findings import FINDINGS
from model.gate.gate_measures import GateMeasures
from model.pages.flags import card_rows
from model.pages.old_and_new import STRANGER
from model.pages.texts import estimate_text, value_text
from model.stats.agreement import Agreement
from model.stats.estimate import Estimate, Proportion
from model.stats.summaries import Summary

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
mass by the called class's probability, cut by mid-rank, ties together. PPV: share of the flagged films that have the
finding, where so many films have it. NPV: share of the others that do not. Unsure: the prediction set is not exactly
one finding. `xrayq evaluate` regenerates all of it.

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
Int8 is less steady than fp32. One grey level more or less in one pixel of a hundred, drawn five times for each of the
189 validation films, moved a probability by .038 at most and by less than .02 in 95 % of films; in fp32 by .004 at most
(2026-11-28).
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


def read_evaluation(path: Path) -> EvaluationContent:
    """An evaluation.json, of this release or an earlier one. Raises OSError or ValueError."""
    return EvaluationContent.read(json.loads(path.read_text(encoding="utf-8")))


def card(bundle: Bundle, evaluation: EvaluationContent) -> str:
    """The card as Markdown. Raises ValueError when the evaluation is of another bundle."""
    if evaluation.bundle.digest != bundle.digest:
        raise ValueError(f"the evaluation is of bundle {evaluation.bundle.digest[:12]}, not {bundle.digest[:12]}")
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
        engine=evaluation.engine.name,
        fp32=" and ".join(f"{bundle.metrics[name]['accuracy']['value']:.3f} on {name}" for name in ("val", "test")),
    )
    lines = [f"- {key.replace('_', ' ')}: {value_text(value)}" for key, value in made.items() if key not in NOT_SHOWN]
    stories = trunk_stories(bundle)
    for story in stories:
        what = "pretraining" if "films" in story else "start"
        lines += [f"- {what}, {key.replace('_', ' ')}: {value_text(value)}" for key, value in story.items()]
    tail = TAIL.format(pretrained=sum(story.get("films", 0) for story in stories))
    variant, gate = bundle.variants.get("int8"), bundle.gate
    int8 = (
        INT8 + "\n".join(_int8([Agreement.read(variant[name]) for name in SPLITS])) + "\n" + INT8_LIMITS
        if variant
        else ""
    )
    looked = (
        GATE + "\n".join(_gate([GateMeasures.read(gate["metrics"][name]) for name in SPLITS])) + "\n" + GATE_LIMITS
        if gate
        else ""
    )
    return head + "\n".join(_measured(evaluation)) + "\n" + int8 + looked + tail + "\n".join(lines) + "\n"


def _measured(evaluation: EvaluationContent) -> Iterable[str]:
    yield from _table(["", *PARTS.values()], _rows_of_parts([evaluation.parts[name] for name in PARTS]))
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
                f"{part.group}: {part.name}",
                str(sum(part.films.values())),
                _estimate(part.accuracy),
                *(_estimate(part.recall[name]) for name in FINDINGS),
            ]
            for part in evaluation.slices
            if part.group != "all"
        ),
    )
    fair = evaluation.fair
    if fair and fair.test_all:
        answers = fair.test_all
        network, shortcut, svm = (answers[who] for who in ("network", "shortcut", "svm"))
        yield ""
        yield (
            f"The fair slice, pneumonia against COVID-19 within one source ({fair.source}, all views, "
            f"{network.films} films): AUROC {_estimate(network.auroc)} +, source statistics "
            f"{_estimate(shortcut.auroc)} +, SVM {_estimate(svm.auroc)} +."
        )
    for study in evaluation.studies:
        yield ""
        yield f"{study.title}. {study.note}"
        yield ""
        rows = (row for row in study.rows if not str(row[0]).isdigit())  # the report has each resplit
        yield from _table(study.columns, (list(map(str, row)) for row in rows))


def _rows_of_parts(parts: list[PartMeasures]) -> Iterable[list[str]]:
    def row(name: str, estimates: Iterable[Estimate]) -> list[str]:
        return [name, *map(_estimate, estimates)]

    summaries = [part.summary for part in parts]
    yield ["films", *(str(summary.films) for summary in summaries)]
    yield row("accuracy", (summary.accuracy for summary in summaries))
    yield row("balanced accuracy +", (summary.balanced for summary in summaries))
    for name in FINDINGS:
        yield row(f"recall, {name}", (summary.recall[name] for summary in summaries))
    for name in FINDINGS:
        yield row(f"precision, {name}", (summary.precision[name] for summary in summaries))
    for name in FINDINGS:
        yield row(f"AUROC, {name} +", (part.curves[name].roc.auroc for part in parts))
    yield row("calibration error (ECE) +", (part.reliability.after.scores[0] for part in parts))
    yield from card_rows(parts)


def _beside(evaluation: EvaluationContent) -> Iterable[list[str]]:
    def figures(test: Summary, test_all: Summary) -> list[str]:
        return list(map(_estimate, (test.accuracy, *(test.recall[name] for name in FINDINGS), test_all.accuracy)))

    parts = evaluation.parts
    yield ["**this network**", *figures(parts["test"].summary, parts["test_all"].summary), "", ""]
    if other := evaluation.other_network:
        measured = figures(other.parts["test"].summary, other.parts["test_all"].summary)
        stranger = "" if other.trained_on else f" ({STRANGER})"
        yield [f"bundle {other.title}{stranger}", *measured, *_minus(other.against["test"])]
    for name, rival in evaluation.baselines.fitted().items():
        measured = figures(rival.test.summary, rival.test_all.summary)
        yield [RIVALS[name], *measured, *_minus(evaluation.against[name]["test"])]
    yield ["guessing", *["0.333"] * (len(FINDINGS) + 2), "", ""]
    if not evaluation.paper:
        return
    theirs = evaluation.paper.cnn["test"]
    recalls = (f"{theirs.recall[name]}" for name in FINDINGS)
    yield ["the 2020 paper, on its own films", f"{theirs.accuracy}", *recalls, "", "", ""]


def _minus(difference: Difference) -> tuple[str, str]:
    """The network minus another, and McNemar's p."""
    gain = difference.accuracy
    interval = f" [{gain.interval95[0]:+.2f}, {gain.interval95[1]:+.2f}]" if gain.interval95 else ""
    return f"{gain.value:+.3f}{interval}", f"{difference.mcnemar.p:.3f}"


def _int8(agreements: list[Agreement]) -> Iterable[str]:
    rows = [
        ["films", *(str(found.films) for found in agreements)],
        ["mean difference", *(f"{found.mean_difference:.4f}" for found in agreements)],
        ["largest difference", *(f"{found.largest_difference:.4f}" for found in agreements)],
        ["films with other flags", *(str(found.films_with_other_flags) for found in agreements)],
    ]
    yield from _table(["", "val", "**test**"], rows)


def _gate(measures: list[GateMeasures]) -> Iterable[str]:
    def row(words: str, share_of: Callable[[GateMeasures], Proportion]) -> list[str]:
        return [words, *(_share(share_of(found)) for found in measures)]

    yield from _table(
        ["", *SPLITS.values()],
        [
            row("PA told from AP", lambda found: found.view.accuracy),
            row("PA films refused", lambda found: found.eligible_refused),
            row("AP films called PA by their tag: refused", lambda found: found.ap_tagged_pa_refused),
            row("without a tag: PA films scored", lambda found: found.untagged_scored["PA"]),
            row("without a tag: AP films scored", lambda found: found.untagged_scored["AP"]),
            row("turned by 90 degrees: refused", lambda found: found.turned["90"].refused),
            row("turned by 180 degrees: refused", lambda found: found.turned["180"].refused),
            row("turned by 270 degrees: refused", lambda found: found.turned["270"].refused),
            row("inverted: refused", lambda found: found.inverted.refused),
        ],
    )
    test = measures[-1]
    yield ""
    yield "By source and label, PA films:"
    yield ""
    called, refused = test.view.by_source, test.untagged_pa_refused.by_label
    rows = [[f"{name}: called PA", _share(called[name]["PA"])] for name in sorted(called) if called[name]["PA"].n]
    rows += [[f"{name}, without a tag: refused", _share(refused[name])] for name in FINDINGS]
    yield from _table(["", SPLITS["test"]], rows)
    yield ""
    yield "Pictures drawn for this, which are no films: share refused."
    yield ""
    yield from _table(["", "share"], [[words, _share(test.made_others[name])] for name, words in DRAWN.items()])


def _share(share: Proportion) -> str:
    return f"{_estimate(share)} ({share.n})"


def _table(columns: Sequence[str], rows: Iterable[list[str]]) -> Iterable[str]:
    yield f"| {' | '.join(columns)} |"
    yield "|" + "---|" * len(columns)
    yield from (f"| {' | '.join(row)} |" for row in rows)


def _estimate(estimate: Estimate) -> str:
    return "-" if estimate.value is None else estimate_text(estimate)


if __name__ == "__main__":
    sys.stdout.write(card(load(REFERENCE), read_evaluation(EVALUATION)))
