"""The view that a header names."""

from typing import Any

import pytest
from pydicom.sr import _cid_dict, _concepts_dict, _snomed_dict

from dicom_gateway.views import (
    MODIFIER_CODES,
    OTHER,
    TURNED,
    VIEW_CODES,
    VIEWS,
    Code,
    all_views,
    coded_views,
    lie,
    named_views,
)
from model.gate.rules import FRONTAL, NOT_FRONTAL

DX_VIEW, DX_VIEW_MODIFIER, POSITION_MODIFIER = 4010, 4011, 20


def concepts(group: int) -> dict[str, str]:
    """Code Value to Code Meaning of a context group of PS3.16, as pydicom knows it: SCT, SRT and DCM."""
    found = {}
    for scheme, names in _cid_dict.cid_concepts[group].items():
        for name in names:
            for value, (meaning, groups) in _concepts_dict.concepts[scheme][name].items():
                if group in groups:
                    found[value] = meaning
                    if retired := _snomed_dict.mapping["SCT"].get(value):
                        found[retired] = meaning
    return found


def expected(meaning: str) -> str:
    words = meaning.lower().replace("-", " ").split()
    if meaning == "postero-anterior":
        return "PA"
    if meaning == "antero-posterior":
        return "AP"
    if meaning == "frontal":
        return ""
    if "axial" in words or "caudo" in words or "cranio" in words or meaning in ("caudad", "cephalad"):
        return "LORDOTIC"
    if "oblique" in words:
        return "OBLIQUE"
    if words[-1] in ("lateral", "medial", "sagittal"):
        return "LATERAL"
    return OTHER


def test_every_code_of_the_standard_is_known_with_its_meaning() -> None:
    assert {value: VIEW_CODES.get(value) for value in concepts(DX_VIEW)} == {
        value: expected(meaning) for value, meaning in concepts(DX_VIEW).items()
    }
    former = {"R-10214": "PA", "R-10218": "OBLIQUE", "R-10222": "LATERAL"}  # notes of CID 4010, and dcm4che's list
    assert set(VIEW_CODES) - set(concepts(DX_VIEW)) == set(former)
    assert {value: VIEW_CODES[value] for value in former} == former


def test_every_modifier_is_one_of_the_standard() -> None:
    known = concepts(DX_VIEW_MODIFIER) | concepts(POSITION_MODIFIER)
    meanings = {known[value]: view for value, view in MODIFIER_CODES.items()}
    assert meanings == {
        "Crosstable": "LATERAL",
        "cephalad": "LORDOTIC",
        "caudad": "LORDOTIC",
        "lordotic": "LORDOTIC",
        "lateral decubitus": "DECUBITUS",
        "left lateral decubitus": "DECUBITUS",
        "right lateral decubitus": "DECUBITUS",
        "transthoracic": OTHER,
    }


def test_the_gate_knows_every_view() -> None:
    assert VIEWS == FRONTAL + NOT_FRONTAL


@pytest.mark.parametrize(
    ("texts", "views"),
    [
        (
            "PA|pa |PA ERECT|PA_ERECT|erect pa|POSTERO-ANTERIOR|POSTEROANTERIOR|Postero Anterior|P-A|P.A.|p.a|P A|P/A"
            "|PA CHEST|CHEST PA|Chest PA upright|(PA)|PA, standing|P>A|POSTERIOR-ANTERIOR|PA VIEW|ＰＡ"
            "|THORAX P.A. STEHEND|XR CHEST PA|PA WITH GRID|POST-ANTERIOR|frontal PA",
            ("PA",),
        ),
        ("AP|AP SUPINE|A.P.|ANTERO-POSTERIOR|ANTEROPOSTERIOR|ap portable|AP semi-erect|AP_horizontal", ("AP",)),
        ("LL|RL|LAT|LATERAL|L LAT|LEFT LATERAL|LATERAL LEFT|LT LAT|RLAT|CHEST LATERAL|Lat.", ("LATERAL",)),
        ("LAO|RPO|OBLIQUE|RLO|LLO", ("OBLIQUE",)),
        ("LLD|RLD|DECUBITUS", ("DECUBITUS",)),
        ("PA LLD|PA decubitus", ("PA", "DECUBITUS")),
        ("AP AXIAL", ("AP", "LORDOTIC")),
        ("PA AND LAT|PA/LATERAL|PA\\LL", ("PA", "LATERAL")),
        ("AP/PA|AP-PA", ("AP", "PA")),
        ("| |ERECT|FRONTAL|CHEST|supine|THORAX FRONTAL|SEMI-ERECT|UNKNOWN|NONE|N/A|n.a.|NA|chest unknown", ()),
        ("PA\\UNKNOWN", ("PA",)),
    ],
)
def test_what_consoles_write(texts: str, views: tuple[str, ...]) -> None:
    for text in texts.split("|"):
        assert named_views(text) == views, text


@pytest.mark.parametrize(
    "text",
    ["PATIENT", "SPA", "PAN", "CHEST X", "PA EXPIRATION", "PA X", "XTABLE LATERAL", "SWIMMERS", "P", "N",
     "PAP", "A", "РА", "胸部", "-", "?", "PA1"],
)  # fmt: skip
def test_other_text_stays_what_it_is(text: str) -> None:
    assert named_views(text.lower()) == (text,)


@pytest.mark.parametrize(
    ("texts", "views"),
    [
        (
            "PA INSPIRATION|PA INSP.|PA, deep inspiration|PA UPRIGHT BUCKY|PA WALL STAND|PA W GRID|PA W/GRID"
            "|PA W/O GRID|PA WITHOUT GRID|PA NON-GRID|PA 180cm|PA 180 CM|PA@180cm|PA (1,8 m)|PA_180CM_125KV|PA SID 180"
            "|PA 72 IN|SID: 72 PA|PAERECT|CHESTPA|PA-ERECT|Chest p.a.|W033 Chest p.a.|71045 CHEST PA|PA 180",
            ("PA",),
        ),
        ("AP 100cm|APSUPINE|PORTABLEAP|AP no grid", ("AP",)),
        ("LAT 180CM|LATERECT|W033 LAT INSPIRATION", ("LATERAL",)),
        ("PAERECT LAT|PA LL 180CM", ("PA", "LATERAL")),
        ("INSPIRATION|BUCKY|UPRIGHT BUCKY W GRID", ()),
    ],
)
def test_what_is_written_beside_a_view(texts: str, views: tuple[str, ...]) -> None:
    for text in texts.split("|"):
        assert named_views(text) == views, text


@pytest.mark.parametrize(
    "text",
    ["PA EXPIRATION 180CM", "PA INSP/EXP", "PA W/O INSPIRATION", "PA WITHOUT INSPIRATION", "PA NO INSPIRATION",
     "PA 45", "PA 045", "PA O045", "PA 15 DEG", "PA 2", "CHEST 2", "PA LAT123", "PA LL180", "PA RPO045", "PA180",
     "PA SIDE", "180CM", "W033", "W033 CHEST", "ERECT 180CM", "SPA 180CM", "PATIENT W033", "PAERECTLAT", "SPAERECT",
     "PAERECTED", "PAPORT"],
)  # fmt: skip
def test_what_is_not_known_beside_a_view_stays_what_it_is(text: str) -> None:
    assert named_views(text.lower()) == (text,)


@pytest.mark.parametrize(
    ("views", "modifiers", "found"),
    [
        ([], [], ()),
        ([Code(value="R-10214")], [], ("PA",)),
        ([Code(value="r-10206")], [], ("AP",)),
        ([Code(value="399033003", meaning="frontal")], [], ()),
        ([Code(value="R-10236", meaning="PA")], [], ("LATERAL",)),
        ([Code(value="THX1", meaning="Chest PA")], [], ("PA",)),
        ([Code(value="THX2", meaning="left lateral")], [], ("LATERAL",)),
        ([Code(value="THX3", meaning="Special")], [], ()),
        ([Code(value="")], [], ()),
        ([Code(value="R-10214"), Code(value="R-10206")], [], ("PA", "AP")),
        ([Code(value="R-10214")], [Code(value="260450008")], ("LORDOTIC",)),
        ([Code(value="R-10214")], [Code(value="10904000", meaning="standing")], ("PA",)),
    ],
)
def test_views_by_code(views: list[Code], modifiers: list[Code], found: tuple[str, ...]) -> None:
    assert coded_views(views, modifiers) == found


@pytest.mark.parametrize(
    ("orientation", "found"),
    [
        ("L\\F", ""),
        ("R\\F", ""),  # mirrored: not turned
        ("l \\ F ", ""),
        ("L\\FP", ""),
        ("L\\H", TURNED),
        ("R\\H", TURNED),
        ("F\\L", TURNED),
        ("F\\R", TURNED),
        ("H\\L", TURNED),
        ("A\\F", "LATERAL"),
        ("P\\F", "LATERAL"),
        ("AL\\F", "LATERAL"),
        ("P\\H", "LATERAL"),
        ("F\\A", "LATERAL"),
        ("L\\P", ""),  # an axial slice: what converters write on everything
        ("L\\R", ""),
        ("F\\F", ""),
        ("L", ""),
        ("", ""),
        ("\\", ""),
        ("L\\F\\P", ""),
        ("LE\\D", ""),
        ("LEFT\\FOOT", ""),
    ],
)
def test_how_a_film_lies(orientation: str, found: str) -> None:
    assert lie(orientation) == found


@pytest.mark.parametrize(
    ("said", "views"),
    [
        (("PA", "", ""), ("PA",)),
        (("PA ERECT", "PA", "L\\F"), ("PA",)),
        (("", "", "L\\F"), ()),
        (("", "LATERAL", "A\\F"), ("LATERAL",)),
        (("LL", "LATERAL", ""), ("LATERAL",)),
        (("PA", "AP", ""), ("PA", "AP")),
        (("PA", "AP\\LATERAL", ""), ("PA", "AP", "LATERAL")),
        (("PA", "PA", "P\\F"), ("PA", "LATERAL")),
        (("", "", "P\\F"), ("LATERAL",)),
    ],
)
def test_all_that_a_header_says(said: tuple[Any, ...], views: tuple[str, ...]) -> None:
    assert all_views(*said) == views
