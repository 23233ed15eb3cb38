"""What a result's picture says, line by line, in words that need no explanation."""

from dataclasses import dataclass
from datetime import datetime
from enum import Enum

from dicom_gateway.result import FilmResult, FindingResult, spoken

NOTICE = "RESEARCH - not a medical device"


class Tone(Enum):
    """How a line is set: its colour, RGB, all bright enough on black for a screen without colours."""

    PLAIN = (225, 225, 225)
    WARNING = (255, 200, 60)
    FLAG = (255, 130, 110)


@dataclass(frozen=True, kw_only=True)
class Line:
    text: str
    tone: Tone = Tone.PLAIN
    bold: bool = False


def outcome(result: FilmResult) -> tuple[Line, ...]:
    """Above the film: what was found, or why nothing was."""
    lines = [Line(text=NOTICE, tone=Tone.WARNING, bold=True)]
    if result.not_analysed:
        lines.append(Line(text=f"NOT ANALYSED: {result.not_analysed.words}", tone=Tone.WARNING, bold=True))
        return tuple(lines)
    flagged = [found for found in result.findings if found.flag]
    others = [found for found in result.findings if found.operating_point is not None and not found.flag]
    lines += [
        Line(text=f"flag: {capitals(found.name)} {_chance(found)}", tone=Tone.FLAG, bold=True) for found in flagged
    ]
    if not flagged:
        lines.append(Line(text="no flag - that does not exclude a finding", bold=True))
    if others:
        lines.append(
            Line(text=f"not flagged: {'; '.join(f'{spoken(found.name)} {_chance(found)}' for found in others)}")
        )
    if result.unsure:
        may = " or ".join(map(spoken, result.prediction_set or ())) or "none of the findings that it knows"
        lines.append(Line(text=f"UNSURE: may be {may}", tone=Tone.WARNING, bold=True))
    lines += [Line(text=f"analysed although: {note.words}", tone=Tone.WARNING) for note in result.notes]
    return tuple(lines)


def made_by(result: FilmResult, at: datetime) -> Line:
    """Below the film: bundle, engine, software and time."""
    algorithm, offset = result.algorithm, f"{at:%z}" or "+0000"
    bundle = f"bundle {algorithm.name} {algorithm.version} ({algorithm.bundle_digest[:12]})"
    when = f"{at:%Y-%m-%d %H:%M:%S} UTC{offset[:3]}:{offset[3:5]}"
    return Line(text=f"{bundle}, {algorithm.engine}, software {algorithm.software_version}, {when}")


def capitals(name: str) -> str:
    return spoken(name).upper()


def _chance(found: FindingResult) -> str:
    """0.83 (operating point 0.61, specificity at least 0.90), with more digits where two make them equal."""
    chance, point = found.probability, found.operating_point
    if point is None:
        return _rounded(chance, 2)
    digits = next((digits for digits in range(2, 7) if _rounded(chance, digits) != _rounded(point, digits)), 2)
    said = f"operating point {_rounded(point, digits)}{', ' if found.chosen_for else ''}{found.chosen_for}"
    return f"{_rounded(chance, digits)} ({said})"


def _rounded(share: float, digits: int) -> str:
    """To so many digits, or as many more as tell it from 0 and 1; at most six."""
    said = [f"{share:.{more}f}" for more in range(digits, 7)]
    return next((text for text in said if float(text) not in (0.0, 1.0)), said[0])
