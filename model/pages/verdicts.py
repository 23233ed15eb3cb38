"""What an evaluation lets one say, and what not: statements judged by their intervals, not by their values."""

from dataclasses import dataclass

from model.decision import SENSITIVITY
from model.evaluation.comparisons import FairSlice
from model.evaluation.evaluate import EvaluationContent
from model.findings import SPOKEN
from model.pages.texts import estimate_text
from model.stats.estimate import Estimate

SHOWN, NOT_SHOWN, REFUTED = "shown", "not shown", "no"
TOO_FEW = "not known on so few films"


@dataclass(frozen=True, kw_only=True)
class Statement:
    text: str
    verdict: str
    evidence: str


def verdicts(content: EvaluationContent) -> list[Statement]:
    """Claims about the test films, in the order in which a reader would doubt them."""
    statements = [_beats(content, rival, words) for rival, words in RIVALS.items()]
    statements += [_ranks(content, name) for name in content.bundle.findings]
    statements += [_fair(content.fair)] if content.fair else []
    statements += [_flag(content, name) for name in content.parts["test"].flags]
    statements += _calibrated(content)
    statements.append(_views(content))
    return statements


RIVALS = {
    "svm": "an SVM on the same training films",
    "shortcut": "what the films' origin alone gives away",
}


def _beats(content: EvaluationContent, rival: str, words: str) -> Statement:
    difference = content.against[rival]["test"]
    return Statement(
        text=f"It calls films better than {words}",
        verdict=_over(difference.balanced_accuracy, 0.0),
        evidence=f"balanced accuracy {_signed(difference.balanced_accuracy)}, "
        f"accuracy {_signed(difference.accuracy)}, McNemar p = {difference.mcnemar.p:.3f}",
    )


def _ranks(content: EvaluationContent, name: str) -> Statement:
    auroc = content.parts["test"].curves[name].roc.auroc
    return Statement(
        text=f"It ranks {SPOKEN[name]} films above others, better than chance",
        verdict=_over(auroc, 0.5),
        evidence=f"AUROC {estimate_text(auroc)}",
    )


def _fair(fair: FairSlice) -> Statement:
    answers = fair.test_all
    auroc = answers["network"].auroc if answers else Estimate(value=None, interval95=None)
    return Statement(
        text=f"It tells COVID-19 from other pneumonia within one source, {fair.source}",
        verdict=_over(auroc, 0.5),
        evidence=f"AUROC {estimate_text(auroc)}, test films of all views. One source is not one origin: its films come "
        "from several web sites, and which site a film is from may tell the finding",
    )


def _flag(content: EvaluationContent, name: str) -> Statement:
    rates = content.parts["test"].flags[name]
    (point,) = (point for point in content.bundle.operating_points if point.finding == name)
    rate = point.target or SENSITIVITY
    had = point.sensitivity if rate == SENSITIVITY else point.specificity
    aimed = had if point.bound is None or point.target_value is None else point.target_value
    promise = f"{rate} of {aimed:.2f} that it " + ("had on validation" if aimed is had else "was chosen for")
    return Statement(
        text=f"The {SPOKEN[name]} flag keeps the {promise}",
        verdict=_at_least(rates.sensitivity if rate == SENSITIVITY else rates.specificity, aimed),
        evidence=f"sensitivity {estimate_text(rates.sensitivity)}, specificity {estimate_text(rates.specificity)}",
    )


def _calibrated(content: EvaluationContent) -> list[Statement]:
    """None of an evaluation of an earlier release, which has no difference film by film."""
    part = content.parts["test"].reliability
    (error, _, loss), (error_after, _, loss_after) = part.before.scores, part.after.scores
    gain = part.log_loss_gain
    if gain is None:
        return []
    made = Statement(
        text="Calibration makes its probabilities more honest",
        verdict=_over(gain, 0.0),
        evidence=f"log loss {estimate_text(loss)} to {estimate_text(loss_after)}, fallen film by film by "
        f"{estimate_text(gain, 3)}; calibration error {estimate_text(error)} to {estimate_text(error_after)}",
    )
    return [made]


def _views(content: EvaluationContent) -> Statement:
    by_view = [part for part in content.slices if part.group == "view"]
    own = content.data.views
    others = [part for part in by_view if part.name not in own and own != ("all",)]
    words = ", ".join(f"{part.name} {estimate_text(part.accuracy)}" for part in by_view)
    return Statement(
        text="It works on other views than it is measured for",
        verdict="do not use it so" if others else "no such films",
        evidence=f"accuracy {words}",
    )


def _over(estimate: Estimate, level: float) -> str:
    bounds = estimate.interval95
    if estimate.value is None or not bounds:
        return TOO_FEW
    return SHOWN if bounds[0] > level else REFUTED if bounds[1] < level else NOT_SHOWN


def _at_least(estimate: Estimate, level: float) -> str:
    """Shown only where the whole interval is at or above the level, no where all of it is below."""
    bounds = estimate.interval95
    if estimate.value is None or not bounds:
        return TOO_FEW
    return SHOWN if bounds[0] >= level else REFUTED if bounds[1] < level else NOT_SHOWN


def _signed(estimate: Estimate) -> str:
    bounds = estimate.interval95
    return f"{estimate.value:+.3f}" + (f" [{bounds[0]:+.2f}, {bounds[1]:+.2f}]" if bounds else "")
