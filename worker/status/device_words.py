"""An AE's evidence in words: the verdict and what to do next, which films were left out, on what it was accepted."""

from model.decision import SENSITIVITY
from model.findings import SPOKEN
from model.promotion.acceptance_rule import GO, MOST_FILMS, NO_GO, JudgedRate
from model.promotion.rule import BROKEN, OPEN
from worker.monitoring.device_evidence import DeviceEvidence, DrawOfDevice
from worker.reporting.acceptance import Device, DeviceState
from worker.words import counted

NO_TRUTH = "without a truth, as readers do not agree on them or say what is no finding of the bundle"
FIRST_DRAW = 100
"""Films of a first draw, as `xrayq labels sample` draws without a number."""


def next_step(evidence: DeviceEvidence) -> str:
    """The verdict, and what to do, in one line."""
    if evidence.verdict == GO:
        return "go: every rate is met"
    if evidence.verdict == NO_GO:
        broken = [f"{rate.rate} of {_spoken(rate)}" for rate in evidence.rates if rate.state == BROKEN]
        return (
            f"no-go: {', '.join(broken)} is too low on films of {evidence.calling_ae}; look at its films, and think of "
            "calibrating for it ('xrayq labels export', 'xrayq calibrate')"
        )
    if not evidence.rates:
        return "undecided: the bundle has no flag, so there is nothing to measure"
    if evidence.not_used:
        return f"undecided: {_to_complete(evidence.not_used[0])}"
    hardest = max((rate for rate in evidence.rates if rate.state == OPEN), key=_effort)
    side = "with" if hardest.rate == SENSITIVITY else "without"
    kind = f"{side} {_spoken(hardest)}"
    if hardest.more is None:
        return (
            f"undecided: its {hardest.rate} takes over {MOST_FILMS} films {kind}; accept {evidence.calling_ae} without "
            "evidence, or keep it silent"
        )
    needs = f"{hardest.more} {'more ' if hardest.films else ''}films {kind}"
    least = "about" if hardest.films else "at least"
    if hardest.drawn is None:
        films = max(FIRST_DRAW, hardest.more)
        so_many = "; how many of its films are so is not known yet, begin with"
    else:
        films = hardest.drawn
        so_many = f", {least} {films} films to draw:"
    return (
        f"undecided: if {evidence.calling_ae} is as calibrated, it takes {needs}{so_many} 'xrayq labels sample --ae "
        f"{evidence.calling_ae} --films {films}'"
    )


def _to_complete(draw: DrawOfDevice) -> str:
    """What a draw lacks before it counts."""
    if draw.unread:
        return f"read draw {draw.draw}, {counted(draw.unread, 'film')} are left, and import it"
    return (
        f"{counted(draw.without_truth, 'film')} of draw {draw.draw} have no truth, a tenth may: let another reader "
        "read them, and import it"
    )


def _effort(rate: JudgedRate) -> tuple[bool, int, int]:
    """Rises with how much it takes to settle a rate."""
    return rate.more is None, rate.drawn or 0, rate.more or 0


def kept_lines(device: Device, live: str) -> list[str]:
    """On what it was accepted, in words."""
    found = device.evidence
    if found is None:
        return ["Accepted without evidence."] if device.state is DeviceState.ACCEPTED else []
    rates = [
        f"  {rate['rate']} of {rate['finding']}: {rate['right']} of {rate['films']} films right, limits "
        f"{rate['limits'][0]:.3f} to {rate['limits'][1]:.3f}, at least {rate['floor']:.3f}"
        for rate in found["rates"]
    ]
    whose = f"bundle {found['bundle_name']} {found['bundle_version']}, digest {found['bundle_digest'][:12]}"
    other = ["Another bundle is live: 'xrayq device check' says how it does."] if device.outdated(live) else []
    films = sum(draw["labelled"] for draw in found["used"])
    first = f"Accepted on {films} labelled films scored by {whose}, with margin {found['rule']['margin']:g}:"
    return [first, *rates, *other]


def kept_word(device: Device, live: str) -> str:
    """Of a row of `device list`."""
    if device.evidence:
        return "another bundle's" if device.outdated(live) else f"bundle {device.evidence['bundle_version']}"
    return "none" if device.state is DeviceState.ACCEPTED else ""


def lacking(rate: JudgedRate) -> str:
    """Of this kind."""
    if rate.state != OPEN:
        return ""
    return f"over {MOST_FILMS}" if rate.more is None else str(rate.more)


def _spoken(rate: JudgedRate) -> str:
    return SPOKEN.get(rate.finding, rate.finding)


def left_out(evidence: DeviceEvidence) -> list[str]:
    words = [_not_complete(draw, first=number == 0) for number, draw in enumerate(evidence.not_used)]
    no_truth = sum(draw.without_truth for draw in evidence.used)
    unread = sum(draw.unread for draw in evidence.used)
    if no_truth:
        words.append(f"{counted(no_truth, 'film')} of these draws {NO_TRUTH}")
    if unread:
        words.append(f"{counted(unread, 'film')} of these draws that nobody read")
    if evidence.before:
        words.append(
            f"{counted(evidence.before, 'film')} drawn before the last reset, or that came before the AE was silenced"
        )
    if evidence.other_bundle:
        words.append(f"{counted(evidence.other_bundle, 'drawn film')} that this bundle did not score live")
    if evidence.chosen:
        words.append(f"{counted(evidence.chosen, 'labelled film')} that nobody drew: who knows how they were chosen")
    return words


def _not_complete(draw: DrawOfDevice, *, first: bool) -> str:
    if not first:
        return f"draw {draw.draw}: it comes after that one"
    lacking = [f"{draw.unread} of its {draw.films} films are not read"] if draw.unread else []
    if draw.without_truth:
        lacking.append(f"{draw.without_truth} of its {draw.films} films are {NO_TRUTH}")
    return f"draw {draw.draw}: {', and '.join(lacking)}"
