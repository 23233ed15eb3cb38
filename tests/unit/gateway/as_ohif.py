"""What OHIF v3 (its extension cornerstone-dicom-sr, commit 0012c302) shows of a structured report.

Written from its behaviour: where it reads what is not there, it stops, and so does this, with an AssertionError. It
reads a sequence of one item as that item.
"""

from dataclasses import dataclass

from pydicom.dataset import Dataset

REPORT, LIBRARY, LIBRARY_GROUP, MEASUREMENTS, GROUP = "126000", "111028", "126200", "126010", "125007"
TRACKING_UID, TRACKING_IDENTIFIER = "112040", "112039"


@dataclass(frozen=True, kw_only=True)
class Drawn:
    tracking_uid: str
    tracking_identifier: str
    labels: tuple[str, ...]
    """One of each number: its name, and the figure with two digits."""
    image: str
    """SOP Instance UID of the film that it is drawn on, "" for none."""
    points: tuple[float, ...]


def drawn(report: Dataset) -> list[Drawn]:
    """What is drawn; [] where the title is another than the one that it supports."""
    if _name(report) != REPORT:
        return []
    (measurements,) = _named(report, MEASUREMENTS)
    merged: dict[str, list[Dataset]] = {}
    for group in _named(measurements, GROUP):
        (tracking,) = _named(group, TRACKING_UID)
        merged.setdefault(tracking.UID, []).extend(group.ContentSequence)
    return [_drawn(items) for items in merged.values()]


def library(report: Dataset) -> list[str]:
    """SOP Instance UIDs of the referenced images."""
    (found,) = _named(report, LIBRARY)
    group = _named(found, LIBRARY_GROUP)[0]
    return [item.ReferencedSOPSequence[0].ReferencedSOPInstanceUID for item in group.ContentSequence]


def _drawn(items: list[Dataset]) -> Drawn:
    regions = [item for item in items if item.ValueType in ("SCOORD", "SCOORD3D")]
    numbers = [item for item in items if item.ValueType == "NUM"]
    if not regions:
        assert all(len(item.get("ContentSequence", ())) == 1 for item in numbers), "a number without coordinates"
    region = regions[0] if regions else None
    assert region is None or len(region.ContentSequence) == 1, "a region of other than one image"
    (identifier,) = (item.TextValue for item in items if _name(item) == TRACKING_IDENTIFIER)
    return Drawn(
        tracking_uid=next(item.UID for item in items if item.ValueType == "UIDREF"),
        tracking_identifier=identifier,
        labels=tuple(map(_label, numbers)),
        image=region.ContentSequence[0].ReferencedSOPSequence[0].ReferencedSOPInstanceUID if region else "",
        points=tuple(region.GraphicData) if region else (),
    )


def _label(number: Dataset) -> str:
    measured = number.MeasuredValueSequence[0]
    unit = measured.MeasurementUnitsCodeSequence[0].CodeValue
    return f"{number.ConceptNameCodeSequence[0].CodeMeaning}: {float(measured.NumericValue):.2f} {unit}"


def _named(parent: Dataset, code: str) -> list[Dataset]:
    return [item for item in parent.ContentSequence if _name(item) == code]


def _name(item: Dataset) -> str:
    assert "ConceptNameCodeSequence" in item, "an item without a name"
    code = item.ConceptNameCodeSequence[0]
    return str(code.get("CodeValue") or code.LongCodeValue)
