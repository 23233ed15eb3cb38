"""Tables of dicom_gateway/CONFORMANCE.md that are made from live objects: `python -m tests.conformance` prints them.

What PS3.2 asks of the objects that we make: each attribute, by module, and whether it is always there. Told from
objects of films that say all that is copied, and as little as a received film can say. Modules are those of
highdicom's copy of PS3.3.
"""

import json
from collections.abc import Callable, Sequence
from functools import cache
from importlib.resources import files
from typing import Any

from pydicom.datadict import dictionary_description, dictionary_VR, tag_for_keyword
from pydicom.dataset import Dataset

from dicom_gateway.copied import ISSUER, OPTIONAL, REQUIRED
from dicom_gateway.secondary_capture import EMPTY_ELSE, OF_THE_FILM, secondary_capture
from dicom_gateway.structured_report import structured_report
from tests.unit.gateway import captures, reported

ALWAYS, MAY_BE_EMPTY, EMPTY, MAY_BE_ABSENT = "always", "may be empty", "empty", "may be absent"
VALUES = {"DA": "20260101", "TM": "120000", "AS": "040Y", "CS": "YES"}
HEADINGS = ("module", "PS3.3", "always", "may be empty", "where the film, or the result, has it")


def films() -> tuple[Dataset, ...]:
    """Full, of a body part that comes in pairs and of one that does not; and bare."""
    bare = Dataset()
    bare.SOPClassUID, bare.SOPInstanceUID = "1.2.840.10008.5.1.4.1.1.1.1", "1.2.3"
    return _full("SHOULDER"), _full("CHEST"), bare


def _full(body_part: str) -> Dataset:
    film = Dataset()
    for keyword in (*REQUIRED, *OPTIONAL, *OF_THE_FILM, *EMPTY_ELSE):
        setattr(film, keyword, VALUES.get(dictionary_VR(keyword), "Müller"))
    film.SOPClassUID, film.SOPInstanceUID = "1.2.840.10008.5.1.4.1.1.1.1", "1.2.3"
    film.StudyInstanceUID, film.SeriesInstanceUID, film.Rows, film.Columns = "1.2.4", "1.2.5", 300, 255
    film.SpecificCharacterSet, film.TimezoneOffsetFromUTC, film.Modality = "ISO_IR 100", "+0100", "DX"
    film.PatientOrientation, film.Laterality, film.BodyPartExamined = ["L", "F"], "L", body_part
    film.LossyImageCompression, film.LossyImageCompressionRatio = "01", "10"
    code, issuer = Dataset(), Dataset()
    code.CodeValue, code.CodingSchemeDesignator, code.CodeMeaning = "1", "DCM", "one"
    setattr(issuer, ISSUER[0], "site")
    film.ProcedureCodeSequence = film.DeidentificationMethodCodeSequence = [code]
    film.IssuerOfAccessionNumberSequence = [issuer]
    return film


@cache
def reports() -> list[Dataset]:
    *full, bare = films()
    more = {"prediction_set": ("normal", "pneumonia"), "replaces": (reported.BEFORE,)}
    return [
        *(structured_report(reported.result_of(film, **more)) for film in full),
        structured_report(reported.not_analysed(bare)),
    ]


@cache
def pictures() -> list[Dataset]:
    *full, bare = films()
    shown = captures.picture(300, 255)
    with_map = [secondary_capture(captures.result_of(film), shown, captures.drawn(shown)) for film in full]
    nothing = captures.result_of(bare, findings=(), prediction_set=None, not_analysed=captures.NOT_PA)
    return [*with_map, secondary_capture(nothing, shown)]


def presence(made: Sequence[Dataset]) -> dict[str, str]:
    """Keyword -> whether an attribute is there in each of them, in the order of tags."""
    found = {}
    for keyword in sorted({element.keyword for one in made for element in one}, key=lambda name: tag_for_keyword(name)):
        there = all(keyword in one for one in made)
        filled = [keyword in one and not one[keyword].is_empty for one in made]
        found[keyword] = (
            MAY_BE_ABSENT if not there else ALWAYS if all(filled) else MAY_BE_EMPTY if any(filled) else EMPTY
        )
    return found


def table(iod: str, made: Sequence[Dataset]) -> str:
    """Each attribute under the first module of the IOD that has it."""
    left, rows = presence(made), [" | ".join(HEADINGS), "|".join("---" for _ in HEADINGS)]
    for module in _standard("iod_module_map")[iod]:
        known = {one["keyword"] for one in _standard("module_attribute_map")[module["key"]] if not one["path"]}
        mine = {keyword: left.pop(keyword) for keyword in list(left) if keyword in known}
        if mine:
            name, clause = NAMES[module["key"]]
            cells = [
                ", ".join(_shown(keyword, how) for keyword, how in mine.items() if how in kinds) for kinds in KINDS
            ]
            rows.append(" | ".join((name, clause, *cells)))
    assert not left, f"of no module of the IOD: {left}"
    return "\n".join(f"| {row} |".replace("  ", " ") if "---" not in row else f"|{row}|" for row in rows)


KINDS = ((ALWAYS,), (MAY_BE_EMPTY, EMPTY), (MAY_BE_ABSENT,))
NAMES = {
    "patient": ("Patient", "C.7.1.1"),
    "general-study": ("General Study", "C.7.2.1"),
    "patient-study": ("Patient Study", "C.7.2.2"),
    "sr-document-series": ("SR Document Series", "C.17.1"),
    "general-series": ("General Series", "C.7.3.1"),
    "general-equipment": ("General Equipment", "C.7.5.1"),
    "sr-document-general": ("SR Document General", "C.17.2"),
    "sr-document-content": ("SR Document Content", "C.17.3"),
    "sc-equipment": ("SC Equipment", "C.8.6.1"),
    "general-image": ("General Image", "C.7.6.1"),
    "general-reference": ("General Reference", "C.12.4"),
    "image-pixel": ("Image Pixel", "C.7.6.3"),
    "multi-frame": ("Multi-frame", "C.7.6.6"),
    "sc-image": ("SC Image", "C.8.6.2"),
    "sc-multi-frame-vector": ("SC Multi-frame Vector", "C.8.6.4"),
    "sop-common": ("SOP Common", "C.12.1"),
    "common-instance-reference": ("Common Instance Reference", "C.12.2"),
}
"""Module -> name and place in PS3.3."""


def _shown(keyword: str, how: str) -> str:
    return dictionary_description(keyword) + (" (always empty)" if how == EMPTY else "")


@cache
def _standard(name: str) -> Any:
    return json.loads((files("highdicom") / "_standard" / f"{name}.json").read_text())


TABLES: dict[str, tuple[str, Callable[[], list[Dataset]]]] = {
    "Results: the structured report": ("comprehensive-3d-sr", reports),
    "Results: the picture": ("multi-frame-true-color-secondary-capture-image", pictures),
}
"""Heading under which a table stands -> the IOD, and objects of it."""


if __name__ == "__main__":
    for heading, (iod, made) in TABLES.items():
        print(f"{heading}\n\n{table(iod, made())}\n")
