"""What an evaluation lets one say, and what not: claims judged by their intervals, not by their values."""

from dataclasses import dataclass
from typing import Any

from model.findings import SPOKEN
from model.pages.figures import said_estimate

SHOWN, NOT_SHOWN, REFUTED = "shown", "not shown", "no"


@dataclass(frozen=True, kw_only=True)
class Claim:
    text: str
    verdict: str
    evidence: str


def verdicts(content: dict[str, Any]) -> list[Claim]:
    """Claims about the test films, in the order in which a reader would doubt them."""
    found = [_beats(content, rival, words) for rival, words in RIVALS.items()]
    found += [_ranks(content, name) for name in content["bundle"]["findings"]]
    found.append(_fair(content))
    found += [_flag(content, name) for name in content["parts"]["test"]["flags"]]
    found.append(_calibrated(content))
    found.append(_views(content))
    return found


RIVALS = {
    "svm": "an SVM on the same training films",
    "shortcut": "what the films' origin alone gives away",
}


def _beats(content: dict[str, Any], rival: str, words: str) -> Claim:
    found = content["against"][rival]["test"]
    return Claim(
        text=f"It calls films better than {words}",
        verdict=_over(found["balanced_accuracy"], 0.0),
        evidence=f"balanced accuracy {_signed(found['balanced_accuracy'])}, accuracy {_signed(found['accuracy'])}, "
        f"McNemar p = {found['mcnemar']['p']:.3f}",
    )


def _ranks(content: dict[str, Any], name: str) -> Claim:
    auroc = content["parts"]["test"]["curves"][name]["roc"]["auroc"]
    return Claim(
        text=f"It ranks {SPOKEN[name]} films above others, better than chance",
        verdict=_over(auroc, 0.5),
        evidence=f"AUROC {said_estimate(auroc)}",
    )


def _fair(content: dict[str, Any]) -> Claim:
    found = content["fair"]["test_all"] or {}
    auroc = found.get("network", {}).get("auroc", {"value": None, "interval95": None})
    return Claim(
        text="It tells COVID-19 from other pneumonia within one source, where origin cannot help",
        verdict=_over(auroc, 0.5),
        evidence=f"AUROC {said_estimate(auroc)}, {content['fair']['source']} test films of all views",
    )


def _flag(content: dict[str, Any], name: str) -> Claim:
    rates = content["parts"]["test"]["flags"][name]
    points = {point["finding"]: point for point in content["bundle"]["operating_points"]}
    aimed = points[name]["sensitivity"]
    low, high = rates["sensitivity"]["interval95"]
    return Claim(
        text=f"The {SPOKEN[name]} flag keeps the sensitivity of {aimed:.2f} that it had on validation",
        verdict="in keeping" if low <= aimed <= high else SHOWN if low > aimed else REFUTED,
        evidence=", ".join(f"{rate} {said_estimate(rates[rate])}" for rate in ("sensitivity", "specificity")),
    )


def _calibrated(content: dict[str, Any]) -> Claim:
    found = content["parts"]["test"]["reliability"]
    before, after = found["before"], found["after"]
    better = after["log_loss"] < before["log_loss"]
    return Claim(
        text="Calibration makes its probabilities more honest",
        verdict="yes, on these films" if better else "no difference" if after == before else REFUTED,
        evidence=f"log loss {before['log_loss']:.3f} to {after['log_loss']:.3f}, "
        f"calibration error {before['ece']:.3f} to {after['ece']:.3f}",
    )


def _views(content: dict[str, Any]) -> Claim:
    by_view = {one["name"]: one for one in content["slices"] if one["group"] == "view"}
    own = content["data"]["views"]
    others = [one for name, one in by_view.items() if name not in own and own != ["all"]]
    words = ", ".join(f"{name} {said_estimate(one['accuracy'])}" for name, one in by_view.items())
    return Claim(
        text="It works on other views than it is measured for",
        verdict="do not use it so" if others else "no such films",
        evidence=f"accuracy {words}",
    )


def _over(estimate: dict[str, Any], level: float) -> str:
    bounds = estimate["interval95"]
    if estimate["value"] is None or not bounds:
        return "too few films"
    return SHOWN if bounds[0] > level else REFUTED if bounds[1] < level else NOT_SHOWN


def _signed(estimate: dict[str, Any]) -> str:
    bounds = estimate["interval95"]
    return f"{estimate['value']:+.3f}" + (f" [{bounds[0]:+.2f}, {bounds[1]:+.2f}]" if bounds else "")
