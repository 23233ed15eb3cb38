"""What xrayq device prints of an AE's evidence: each rate against its floor."""

from rich.console import Console
from rich.text import Text

from model.notice import NOTICE
from model.promotion.rule import BROKEN, MET, OPEN
from worker.cli.console import print_rows
from worker.monitoring.device_evidence import DeviceEvidence
from worker.status.device_words import lacking, left_out
from worker.words import counted

STYLES = {MET: "green", OPEN: "yellow", BROKEN: "red"}
HEADINGS = ("flag", "rate", "films", "right", "rate now", "limits", "at least", "outcome", "films lacking")


def show(console: Console, evidence: DeviceEvidence) -> None:
    """The rates, which films they are of, and which were left out."""
    rows = [
        (
            rate.finding,
            rate.rate,
            str(rate.films),
            str(rate.right),
            "" if rate.value is None else f"{rate.value:.3f}",
            f"{rate.limits[0]:.3f} to {rate.limits[1]:.3f}",
            f"{rate.floor:.3f}, {rate.calibrated:.3f} calibrated",
            Text(rate.state, STYLES[rate.state]),
            lacking(rate),
        )
        for rate in evidence.rates
    ]
    print_rows(console, HEADINGS, rows)
    rule = evidence.rule
    console.print(
        f"Limits are exact: the lower one at {100 * rule.lower_level:.2f} %, the upper one at "
        f"{100 * rule.upper_level:.2f} %, one-sided, for look {max(1, rule.look)}. Met: the lower limit is at least "
        f"what was calibrated less {rule.margin:g}. Broken: the upper limit is below that."
    )
    draws = ", ".join(draw.draw for draw in evidence.used)
    console.print(
        f"Used: {evidence.films} labelled films of {evidence.calling_ae} that bundle {evidence.bundle_name} "
        f"{evidence.bundle_version}, digest {evidence.bundle_digest[:12]}, scored live"
        + (f", of {counted(len(evidence.used), 'draw')}: {draws}." if draws else ".")
    )
    for words in left_out(evidence):
        console.print(f"Not used: {words}.", style="yellow")
    console.print(NOTICE, style="dim")
