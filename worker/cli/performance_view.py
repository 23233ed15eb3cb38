"""What xrayq labels performance prints: rates over the random sample, and what other labels say."""

from zoneinfo import ZoneInfo

from rich.console import Console
from rich.text import Text

from model.notice import NOTICE
from model.stats.estimate import Proportion
from worker.cli.common import clock
from worker.cli.console import print_rows
from worker.cli.operating_points import share_text
from worker.monitoring.live_rates import COMPLETE, DeviceRates, Performance


def show(console: Console, measured: Performance, zone: ZoneInfo) -> None:
    if measured.since:
        console.print(f"Counted since the reset of {clock(measured.since, zone)}: {measured.reason}")
    for part in measured.parts:
        _show_sample(console, measured, part)
    _show_others(console, measured)
    console.print(
        "Calibrated: on the films that the flags were chosen on, by the engine of then (fp32 as a rule; int8 changes "
        f"a few flags); empty where the bundle does not say it by label. {NOTICE}",
        style="dim",
    )


def _show_sample(console: Console, measured: Performance, part: DeviceRates) -> None:
    sample, which = part.sample, f" of device {part.device}" if part.device else ""
    if measured.devices:
        console.print(f"Films{which or ' of no device with a calibration of its own'}:", style="bold")
    if not sample.drawn:
        if measured.devices and any(one.sample.drawn for one in measured.parts):
            console.print("none was drawn yet, so there is no rate and no alarm")
            return
        console.print(
            "No film that this bundle scored was drawn at random, so there are no rates and no alarm: 'xrayq labels "
            "sample --films 100 --out worklist.csv', let readers fill it, 'xrayq labels import worklist.csv'.",
            style="yellow",
        )
        return
    table = []
    for rates in sample.findings:
        for one in rates.by_label:
            rate = one.rate
            alarm = Text(f"ALARM since labelled film {rate.alarm_at} of its kind", "red") if rate.alarm_at else ""
            calibrated = "" if rate.calibrated is None else f"{rate.calibrated[0]:.3f} to {rate.calibrated[1]:.3f}"
            evidence = "" if rate.evidence is None else f"{rate.evidence:.3g}"
            now = share_text(Proportion(value=rate.value, interval95=rate.interval95, n=rate.trials))
            table.append((rates.finding, one.label, one.name, now, calibrated, evidence, alarm))
        for name, share in (("PPV", rates.ppv), ("NPV", rates.npv)):
            table.append((rates.finding, "all", name, share_text(share), "", "", ""))
    print_rows(console, ("flag", "label", "rate", "now", "calibrated", "evidence", "alarm"), table, folds=("alarm",))
    limits = {one.rate.alarm_from for rates in sample.findings for one in rates.by_label if one.rate.calibrated}
    console.print(
        f"{sample.drawn} of the {measured.scored} films scored live by bundle {measured.bundle_digest[:12]} were drawn "
        f"at random{f' and are{which}' if which else ''}: {sample.labelled} labelled, readers disagree on "
        f"{sample.disputed}, {sample.unread} not read. "
        f"Evidence of {max(limits, default=0):.0f} or more raises the alarm."
    )
    if not sample.complete:
        console.print(
            f"Fewer than {100 * COMPLETE:.0f} % of the drawn films were read, so the rates above may be those of the "
            "easy ones. A film that was not read counts against an alarm.",
            style="yellow",
        )


def _show_others(console: Console, measured: Performance) -> None:
    others = measured.others
    if not (others.labelled or others.disputed):
        return
    console.print(
        f"Not representative: {others.labelled} films with a label that were not drawn ({others.flagged} flagged), "
        f"readers disagree on {others.disputed} more. Nobody knows how they were chosen, so no alarm comes of them.",
        style="yellow",
    )
    rows = [(one.finding, one.label, share_text(one.right)) for one in others.rates]
    print_rows(console, ("flag", "label", "right, not representative"), rows)
