"""Text, sizes and numbers as a person reads them."""

from collections.abc import Sequence

from model.findings import spoken_findings

UNITS = ("bytes", "KiB", "MiB", "GiB")


def printable(text: str) -> str:
    """Text of others on its way to a terminal: each character but the line feed that does not print becomes a space, as
    an escape sequence would move the cursor, or worse. As long as before."""
    return "".join(character if character.isprintable() or character == "\n" else " " for character in text)


def size(number: float) -> str:
    """1.4 GiB, in steps of 1,024 bytes; from 100 of a unit on without a fraction."""
    for unit in UNITS[:-1]:
        if number < 1024:
            return f"{number:.0f} {unit}" if number >= 100 or unit == UNITS[0] else f"{number:.1f} {unit}"
        number /= 1024
    return f"{number:,.1f} {UNITS[-1]}"


def is_line(text: str, most: int) -> bool:
    """Whether a reason that somebody typed is one line of 1 to `most` characters."""
    return 0 < len(text) <= most and text.isprintable()


def counted(number: int, noun: str) -> str:
    """1 film, 2,000 films."""
    return f"{number:,} {noun}" if number == 1 else f"{number:,} {noun}s"


def flags_text(flags: Sequence[str], unsure: bool) -> str:
    """What a score says, wherever it is shown: "COVID-19", "COVID-19; unsure", "no flag", "no flag; unsure"."""
    return f"{spoken_findings(flags) or 'no flag'}{'; unsure' if unsure else ''}"
