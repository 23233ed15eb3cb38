"""What xrayq calibrate prints: what the new calibration is worth on each part of the films."""

from pathlib import Path

from rich.console import Console

from model.calibrating.calibration_content import CalibrationContent
from model.calibrating.measured_part import FilmsNeeded
from model.stats.repeated_films import independence_note, patient_note
from worker.cli.console import print_rows
from worker.cli.operating_points import POINTS_NOTE, SHIFT_NOTE, estimate_text, print_point


def show(console: Console, content: CalibrationContent, out: Path, place: Path) -> None:
    """calibration.json for people."""
    parts = content.parts
    errors = [
        (
            f"{name}, {part.how}",
            when,
            *map(estimate_text, (reliability.scores[0], reliability.by_finding, *reliability.scores[1:])),
        )
        for name, part in parts.items()
        for when, reliability in part.reliability.items()
    ]
    print_rows(console, ("films", "probabilities", "ECE", "error by finding", "Brier", "log loss"), errors)
    for point in content.operating_points:
        measured = [(f"{name}, {part.how}", part.flags[point.id]) for name, part in parts.items()]
        print_point(console, point, measured)
        short = [
            f"{name} {films}" for name, part in parts.items() if (films := _needed(part.flags[point.id].films_needed))
        ]
        if short:
            console.print(f"  to know its rates to +- .05 it takes: {'; '.join(short)}", style="dim")
    sets = []
    for name, part in parts.items():
        shares = [part.sets.coverage, *part.sets.by_finding.values(), part.sets.abstentions]
        sets.append((name, *map(estimate_text, shares)))
    print_rows(console, ("prediction sets", "coverage", *content.bundle.findings, "unsure"), sets)
    console.print(
        f"Brackets are 95 % intervals. {POINTS_NOTE} ECE: of the called class; the report says how much of it is "
        "chance.",
        style="dim",
    )
    if note := independence_note(counts for part in parts.values() for counts in part.counts):
        console.print(note)
    if content.data.films_as_patients:
        console.print(f"{patient_note(content.data.films_as_patients)}: intervals and promises hold only if it is so.")
    if content.device:
        console.print(f"Only films of device {content.device.name} ({content.device.words}); all else is as it was.")
    if content.calibration.prior_shift:
        console.print(f"Calibration: {content.calibration.words}. {SHIFT_NOTE}", style="dim")
    made = f"{out}, {content.name} {content.version}, digest {content.made[:12]}, {content.calibration.words}"
    console.print(
        f"wrote {made}; report in {place}. {content.notice}",
        highlight=False,
        soft_wrap=True,
    )


def _needed(films: FilmsNeeded) -> str:
    short = ((films.sensitivity, "positives"), (films.specificity, "negatives"))
    return ", ".join(f"{count} {which}" for count, which in short if count)
