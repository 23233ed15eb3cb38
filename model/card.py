"""The shipped bundle's model card: `python -m model.card > model/CARD.md`. A test keeps the two together."""

import sys
from typing import Any

from model.bundle import REFERENCE, Bundle, load

HEAD = """# Model card: {name} {version}

**Research software. Not a medical device.** Digest `{short}`, {created}.

## What it is

ResNet50 (He et al. 2015) with the head of a 2020 student paper on COVID-19 in chest films: average pool to 3x3x2048,
dropout 0.4, one linear layer to normal / pneumonia / COVID-19. Input: one grey channel, the film's central square
shrunk to {size} x {size} by area averaging, windowed, its {low:g} to {high:g} percentiles stretched. Output: softmax
at temperature {temperature}, fitted on the validation split.

## What it was measured to do

Films of the data's own split, patients exclusive. Values are measured through ONNX Runtime on the shipped weights;
brackets are exact 95 % intervals. The epoch, the temperature and the operating points were chosen on `val`, never on
`test`.

"""

TAIL = """
## What it is not

- **It is weak.** The paper reports an accuracy of .924 from ImageNet weights, on a test set with ten COVID films. These
  weights started from in-domain pretraining without ImageNet, and saw {films} films. Do not act on its scores.
- Normal against pneumonia is the hard pair: most pneumonia labels are mined from reports, and radiologists disagree
  with many of them on posteroanterior films.
- COVID films come from other sources than the rest. Cropping to a square and stretching percentiles removes the easiest
  shortcuts (aspect ratio, brightness), not all of them: borders, markers and the look of a journal figure remain.
- Adults, posteroanterior. Children, bedside (AP) and lateral films are refused by the gate, as far as their tags tell.
- COVID films are from 2020. The disease, its variants and its treatment have changed.

## Data

Public adult chest films: NIH ChestX-ray14 (NIH Clinical Center; Wang et al., CVPR 2017), the COVID-19 image data
collection (Cohen et al. 2020, per-image licences), the Hannover COVID-19 repository (CC BY 3.0), Actualmed and Figure 1
COVID-19 collections (research use). The trunk was first trained on Kermany et al. 2018 (CC BY 4.0), NIH and OpenIST
films. No film is part of this project.

## How it was made

"""


def card(bundle: Bundle) -> str:
    """The card as Markdown, every number from the bundle's manifest."""
    made = bundle.provenance
    head = HEAD.format(
        name=bundle.name,
        version=bundle.version,
        short=bundle.digest[:12],
        created=made["created"][:10],
        size=bundle.preprocess.size,
        low=bundle.preprocess.stretch_low,
        high=bundle.preprocess.stretch_high,
        temperature=bundle.temperature,
    )
    films = sum(made["films"]["train"].values())
    lines = [f"- {key.replace('_', ' ')}: {_plain(value)}" for key, value in made.items() if key != "intended_use"]
    return head + _metrics(bundle) + TAIL.format(films=films) + "\n".join(lines) + "\n"


def _metrics(bundle: Bundle) -> str:
    splits = bundle.metrics
    rows = [("films", [str(metrics["films"]) for metrics in splits.values()])]
    rows.append(("accuracy", [_proportion(metrics["accuracy"]) for metrics in splits.values()]))
    for measure in ("recall", "precision"):
        for finding in bundle.findings:
            rows.append((f"{measure}, {finding}", [_proportion(m[measure][finding]) for m in splits.values()]))
    for point in bundle.operating_points:
        for rate in ("sensitivity", "specificity"):
            name = f"flag {point.finding} at {point.threshold:.4f}, {rate}"
            rows.append((name, [_proportion(m["flags"][point.finding][rate]) for m in splits.values()]))
    table = ["| | " + " | ".join(splits) + " |", "|---|" + "---|" * len(splits)]
    table += [f"| {name} | {' | '.join(cells)} |" for name, cells in rows]
    return "\n".join(table) + "\n"


def _proportion(value: dict[str, Any]) -> str:
    if value["value"] is None:
        return "-"
    low, high = value["interval95"]
    return f"{value['value']:.3f} [{low:.3f}, {high:.3f}], n = {value['n']}"


def _plain(value: object) -> str:
    if isinstance(value, dict):
        return "; ".join(f"{key} {_plain(one)}" for key, one in value.items())
    return ", ".join(str(one) for one in value) if isinstance(value, list) else str(value)


if __name__ == "__main__":
    sys.stdout.write(card(load(REFERENCE)))
