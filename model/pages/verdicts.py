"""What an evaluation lets one say, and what not: statements judged by their intervals, not by their values."""

from dataclasses import dataclass

from model.evaluation.comparisons import FairSlice
from model.evaluation.evaluate import EvaluationContent
from model.findings import SPOKEN
from model.pages.texts import estimate_text, number_text
from model.stats.estimate import Estimate

SHOWN, NOT_SHOWN, REFUTED = "shown", "not shown", "no"


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
    statements.append(_calibrated(content))
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
        text="It tells COVID-19 from other pneumonia within one source, where origin cannot help",
        verdict=_over(auroc, 0.5),
        evidence=f"AUROC {estimate_text(auroc)}, {fair.source} test films of all views",
    )


def _flag(content: EvaluationContent, name: str) -> Statement:
    rates = content.parts["test"].flags[name]
    (aimed,) = (point.sensitivity for point in content.bundle.operating_points if point.finding == name)
    low, high = rates.sensitivity.interval95
    return Statement(
        text=f"The {SPOKEN[name]} flag keeps the sensitivity of {aimed:.2f} that it had on validation",
        verdict="in keeping" if low <= aimed <= high else SHOWN if low > aimed else REFUTED,
        evidence=f"sensitivity {estimate_text(rates.sensitivity)}, specificity {estimate_text(rates.specificity)}",
    )


def _calibrated(content: EvaluationContent) -> Statement:
    before, after = content.parts["test"].reliability.before, content.parts["test"].reliability.after
    better = after.log_loss is not None and before.log_loss is not None and after.log_loss < before.log_loss
    return Statement(
        text="Calibration makes its probabilities more honest",
        verdict="yes, on these films" if better else "no difference" if after == before else REFUTED,
        evidence=f"log loss {number_text(before.log_loss)} to {number_text(after.log_loss)}, "
        f"calibration error {number_text(before.ece)} to {number_text(after.ece)}",
    )


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
        return "too few films"
    return SHOWN if bounds[0] > level else REFUTED if bounds[1] < level else NOT_SHOWN


def _signed(estimate: Estimate) -> str:
    bounds = estimate.interval95
    return f"{estimate.value:+.3f}" + (f" [{bounds[0]:+.2f}, {bounds[1]:+.2f}]" if bounds else "")
