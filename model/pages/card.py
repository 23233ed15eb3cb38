"""The shipped bundle's model card: `python -m model.pages.card > model/CARD.md`. A test keeps the two together.

Every figure is from the bundle's manifest or from `EVALUATION`, the evaluation.json that `xrayq evaluate` wrote for it.
"""

import json
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path

from model.bundle import REFERENCE, SHIPPED, Bundle, load
from model.evaluation.evaluate import EvaluationContent
from model.evaluation.slices import PartMeasures
from model.findings import FINDINGS
from model.pages.words import estimate_text, plain
from model.stats.estimate import Estimate
from model.stats.summaries import Summary

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
    lines = [f"- {key.replace('_', ' ')}: {plain(value)}" for key, value in made.items() if key not in NOT_SHOWN]
    pretraining = made["pretraining"]
    lines += [f"- pretraining, {key.replace('_', ' ')}: {plain(value)}" for key, value in pretraining.items()]
    tail = TAIL.format(pretrained=pretraining["films"])
    return head + "\n".join(_measured(evaluation)) + "\n" + tail + "\n".join(lines) + "\n"


def _measured(evaluation: EvaluationContent) -> Iterable[str]:
    yield from _table(["", *PARTS.values()], _rows_of_parts([evaluation.parts[name] for name in PARTS]))
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
                f"{part.group}: {part.name}",
                str(sum(part.films.values())),
                _estimate(part.accuracy),
                *(_estimate(part.recall[name]) for name in FINDINGS),
            ]
            for part in evaluation.slices
            if part.group != "all"
        ),
    )
    answers = evaluation.fair.test_all or {}
    if answers:
        network, shortcut, svm = (answers[who] for who in ("network", "shortcut", "svm"))
        yield ""
        yield (
            f"The fair slice, pneumonia against COVID-19 within one source ({evaluation.fair.source}, all views, "
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
    for name, flag in parts[0].flags.items():
        words = f"flag {name} at {flag.threshold:.4f}"
        yield row(f"{words}, sensitivity", (part.flags[name].sensitivity for part in parts))
        yield row(f"{words}, specificity", (part.flags[name].specificity for part in parts))


def _beside(evaluation: EvaluationContent) -> Iterable[list[str]]:
    def figures(test: Summary, test_all: Summary) -> list[str]:
        return [_estimate(test.accuracy), _estimate(test.recall["covid19"]), _estimate(test_all.accuracy)]

    parts = evaluation.parts
    yield ["**this network**", *figures(parts["test"].summary, parts["test_all"].summary), "", ""]
    for name, rival in evaluation.baselines.fitted().items():
        measured = figures(rival.test.summary, rival.test_all.summary)
        difference = evaluation.against[name]["test"]
        gain = difference.accuracy
        interval = f" [{gain.interval95[0]:+.2f}, {gain.interval95[1]:+.2f}]" if gain.interval95 else ""
        yield [RIVALS[name], *measured, f"{gain.value:+.3f}{interval}", f"{difference.mcnemar.p:.3f}"]
    yield ["guessing", "0.333", "0.333", "0.333", "", ""]
    theirs = evaluation.paper.cnn["test"]
    yield ["the 2020 paper, on its own films", f"{theirs.accuracy}", f"{theirs.recall['covid19']}", "", "", ""]


def _table(columns: Sequence[str], rows: Iterable[list[str]]) -> Iterable[str]:
    yield f"| {' | '.join(columns)} |"
    yield "|" + "---|" * len(columns)
    yield from (f"| {' | '.join(row)} |" for row in rows)


def _estimate(estimate: Estimate) -> str:
    return "-" if estimate.value is None else estimate_text(estimate)


if __name__ == "__main__":
    sys.stdout.write(card(load(REFERENCE), read_evaluation(EVALUATION)))
