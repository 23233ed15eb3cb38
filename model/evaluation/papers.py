"""What others published, as literal numbers: set beside ours, never mixed with them.

Tang, Lin, Lee, Portella: "X-Ray Detection of COVID-19", Duke IDS 705 final project, 2020. Shares, 0..1.
"""

from dataclasses import dataclass, replace

from model.bundle import Bundle, trunk_stories
from model.json_value import JsonValue

CITATION = 'Tang, Lin, Lee, Portella, "X-Ray Detection of COVID-19", IDS 705 final project, 2020'


@dataclass(frozen=True, kw_only=True)
class PublishedRates(JsonValue):
    accuracy: float
    precision: dict[str, float]
    """By class."""
    recall: dict[str, float]


@dataclass(frozen=True, kw_only=True)
class Paper(JsonValue):
    """What the paper prints; rates and films by split."""

    citation: str
    films: dict[str, dict[str, int]]
    """Split -> class -> films."""
    cnn: dict[str, PublishedRates]
    svm: dict[str, PublishedRates]
    svm_train_accuracy: float
    random: dict[str, PublishedRates]
    covidnet: dict[str, PublishedRates]
    split_study: tuple[dict[str, str | float], ...]
    """Rows of its table, by column: the shares "train/val", and the accuracy on each split."""
    why_different: tuple[str, ...]
    """Why its figures and ours differ, in sentences."""


def _rates(accuracy: float, **classes: tuple[float, float]) -> PublishedRates:
    """By class: precision, recall."""
    return PublishedRates(
        accuracy=accuracy,
        precision={name: pair[0] for name, pair in classes.items()},
        recall={name: pair[1] for name, pair in classes.items()},
    )


PAPER = Paper(
    citation=CITATION,
    films={
        "train": {"normal": 749, "pneumonia": 749, "covid19": 64},
        "val": {"normal": 511, "pneumonia": 511, "covid19": 41},
        "test": {"normal": 100, "pneumonia": 100, "covid19": 10},
    },
    cnn={
        "train": _rates(0.965, normal=(0.98, 0.96), pneumonia=(0.96, 0.97), covid19=(0.93, 0.95)),
        "val": _rates(0.912, normal=(0.94, 0.89), pneumonia=(0.89, 0.92), covid19=(0.82, 0.71)),
        "test": _rates(0.924, normal=(0.93, 0.93), pneumonia=(0.92, 0.92), covid19=(0.90, 0.90)),
    },
    svm={"test": _rates(0.838, normal=(0.85, 0.86), pneumonia=(0.82, 0.88), covid19=(1.00, 0.20))},
    svm_train_accuracy=0.990,
    random={"test": _rates(0.343, normal=(0.53, 0.35), pneumonia=(0.48, 0.35), covid19=(0.03, 0.20))},
    covidnet={"test": _rates(0.924, normal=(0.91, 0.95), pneumonia=(0.94, 0.91), covid19=(0.89, 0.80))},
    split_study=(
        {"train/val": "70/30", "train": 0.9601, "val": 0.9132, "test": 0.8673},
        {"train/val": "60/40", "train": 0.9645, "val": 0.9124, "test": 0.9238},
        {"train/val": "50/50", "train": 0.9760, "val": 0.9520, "test": 0.8684},
    ),
    why_different=(
        "Its test set holds 10 COVID-19 films. Nine right of ten is a recall of .90 with an exact 95 % interval of "
        ".56 to 1.00; the paper gives no interval.",
        "Its 0.924 is the highest of three test results (.867, .924, .868 for three train/validation splits), and the "
        "paper chooses by accuracy with the test set in view. Ours chooses "
        "epoch, calibration and operating points on validation films.",
        "Its films were not all posteroanterior adults: when others checked, 1,027 of its 1,260 pneumonia training "
        "films were anteroposterior and 134 files were of patients under 18. Where pneumonia is bedside and normal is "
        "upright, telling the views apart looks like telling the diseases apart. Ours compares PA with PA.",
        "53 of its 193 test patients also occur in its training films, through the RSNA-to-NIH mapping.",
        "Its COVID-19 films come from other sources than the rest, so that origin can stand for disease. So do most of "
        "ours, but for one source that has COVID-19 and normal films; films are cropped to squares and stretched, and "
        "what origin still gives away is measured above.",
    ),
)


def paper_beside(bundle: Bundle, films: int) -> Paper:
    """The paper's figures, and how its start differs from this bundle's, fitted on so many films."""
    start = (
        f"It starts from ImageNet weights and has 1,562 training films; ours has {films}, and {start_words(bundle)}."
    )
    return replace(PAPER, why_different=(*PAPER.why_different, start))


def start_words(bundle: Bundle) -> str:
    """How the network began, in words."""
    stories = trunk_stories(bundle)
    words = [
        f"a trunk pretrained on {story['films']:,} other chest films"
        if "films" in story
        else f"weights of others ({story.get('licence') or story['checkpoint']})"
        for story in stories
    ]
    if words:
        return f"starts from {', which began with '.join(words)}"
    return f"starts from: {bundle.provenance.get('initial_weights', 'weights not said')}"
