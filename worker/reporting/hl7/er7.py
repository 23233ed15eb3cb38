"""HL7 v2's text form (ER7, HL7 2.5.1 chapter 2): what stands between its separators.

Separators are the usual ones: | between fields, ^ components, & subcomponents, ~ repetitions, \\ begins an escape.
"""

import re
from datetime import datetime

from pydicom.sr.coding import Code

SEPARATORS = "|^~\\&"
"""MSH-1 and MSH-2."""
SEGMENT_END = "\r"
_ESCAPES = {"\\": "\\E\\", "|": "\\F\\", "^": "\\S\\", "~": "\\R\\", "&": "\\T\\"}
_LINE_END = re.compile(r"\r\n|\r|\n")


def escaped(text: str) -> str:
    """Text as data: separators escaped (2.7.1), a line's end as `\\.br\\`, other control characters as spaces."""
    lines = ("".join(_ESCAPES.get(character, character) for character in line) for line in _LINE_END.split(text))
    return "".join(character if character.isprintable() else " " for character in "\\.br\\".join(lines))


def trimmed(field: str) -> str:
    """Without separators behind the last value of each repetition: they say nothing."""
    return "~".join(
        "^".join(component.rstrip("&") for component in repetition.split("^")).rstrip("^")
        for repetition in field.split("~")
    )


def components(*parts: str) -> str:
    """A field of these, each of them data."""
    return trimmed("^".join(map(escaped, parts)))


def coded(code: Code) -> str:
    """CE or CWE: code, meaning, coding scheme. DICOM's designators are those of HL7 table 0396."""
    return components(code.value, code.meaning, code.scheme_designator)


def timestamp(at: datetime) -> str:
    """TS, to the second, with the distance to UTC where it is known."""
    return f"{at:%Y%m%d%H%M%S%z}"


def person_name(name: str) -> str:
    """XPN of a DICOM person name (PS3.5 6.2.1): a repetition for each group of it, the alphabetic one first.

    Where there is more than one, XPN-8 says which: A alphabetic, I ideographic, P phonetic (HL7 table 0465).
    """
    groups = [(group, kind) for group, kind in zip(name.split("="), "AIP", strict=False) if group.strip("^ ")]
    return "~".join(
        components(*_ordered(group.split("^")), "", "L", kind if len(groups) > 1 or kind != "A" else "")
        for group, kind in groups
    )


def provider(name: str) -> str:
    """XCN of a DICOM person name: its first group, without an identifier."""
    parts = name.partition("=")[0].split("^")
    return components("", *_ordered(parts))


def _ordered(parts: list[str]) -> tuple[str, ...]:
    """Family, given, middle, suffix, prefix: DICOM has prefix before suffix."""
    family, given, middle, prefix, suffix = [*(part.strip() for part in parts[:5]), *[""] * (5 - len(parts[:5]))]
    return family, given, middle, suffix, prefix
