"""Sizes of files and disks as a person reads them, everywhere in the same units."""

UNITS = ("bytes", "KiB", "MiB", "GiB")


def size(number: float) -> str:
    """1.4 GiB, in steps of 1,024 bytes; from 100 of a unit on without a fraction."""
    for unit in UNITS[:-1]:
        if number < 1024:
            return f"{number:.0f} {unit}" if number >= 100 or unit == UNITS[0] else f"{number:.1f} {unit}"
        number /= 1024
    return f"{number:,.1f} {UNITS[-1]}"
