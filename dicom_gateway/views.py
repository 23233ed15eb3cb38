"""Which way the X-rays went through the chest: from View Position, View Code Sequence and Patient Orientation.

A view is one of `VIEWS`; text that names none of them stays what it is. Only the header is read here.
"""

import re
import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass

PA, AP, LATERAL, OBLIQUE, DECUBITUS, LORDOTIC, OTHER = (
    "PA", "AP", "LATERAL", "OBLIQUE", "DECUBITUS", "LORDOTIC", "OTHER",
)  # fmt: skip
VIEWS = (PA, AP, LATERAL, OBLIQUE, DECUBITUS, LORDOTIC)
"""Names that a site can choose. OTHER is what a code says that is none of them."""

VIEW_WORDS: dict[str, str] = {
    word: view
    for view, words in {
        # Defined terms of View Position (PS3.3 Table C.8-1): AP, PA, LL, RL, RLD, LLD, RLO, LLO. The others are what
        # consoles, archives and public collections of chest films write, in several languages.
        PA: ("PA", "POSTEROANTERIOR", "POSTERIORANTERIOR", "POSTANTERIOR", "POSTANT", "DORSOVENTRAL"),
        AP: ("AP", "ANTEROPOSTERIOR", "ANTERIORPOSTERIOR", "ANTPOSTERIOR", "ANTPOST", "VENTRODORSAL"),
        LATERAL: (
            "LL", "RL", "LAT", "LATERAL", "LLAT", "RLAT", "LATERALE", "LATEROLATERAL", "SEITLICH", "PROFIL", "PERFIL",
        ),
        OBLIQUE: ("OBL", "OBLIQUE", "LAO", "RAO", "LPO", "RPO", "LLO", "RLO"),
        DECUBITUS: ("LLD", "RLD", "DECUB", "DECUBITUS"),
        LORDOTIC: ("LORDOTIC", "AXIAL", "APICAL"),
    }.items()
    for word in words
}  # fmt: skip
WORDS_BESIDE_A_VIEW = frozenset((
    "CHEST", "THORAX", "LUNG", "LUNGS", "XR", "CXR", "VIEW", "PROJECTION", "FRONTAL", "AND", "WITH", "W", "GRID",
    "INSPIRATION", "INSPIRATORY", "INSPIR", "INSP", "DEEP", "FULL", "BUCKY", "WALL",
    "ERECT", "UPRIGHT", "STANDING", "STAND", "SITTING", "SEATED", "SEMI", "SEMIERECT", "SUPINE",
    "HORIZONTAL", "VERTICAL", "PORTABLE", "MOBILE", "BEDSIDE", "BED", "STEHEND", "LIEGEND", "SITZEND", "DEBOUT",
    "LEFT", "RIGHT", "LT", "RT", "L", "R",
))  # fmt: skip
"""They say how the patient stood, or nothing."""
WORDS_FOR_NOTHING = frozenset(("UNKNOWN", "UNSPECIFIED", "UNDEFINED", "NONE", "NULL", "NA"))
JOINED = {
    joined: VIEW_WORDS[view]
    for view in ("PA", "AP", "LAT", "LATERAL")
    for word in ("CHEST", "THORAX", "ERECT", "UPRIGHT", "STANDING", "SUPINE", "SITTING", "PORTABLE", "BUCKY", "GRID")
    for joined in (view + word, word + view)
}
"""PAERECT, CHESTPA: whole words, so that PA is not read out of any other."""
WORDS = VIEW_WORDS | JOINED | dict.fromkeys(WORDS_BESIDE_A_VIEW | WORDS_FOR_NOTHING, "")

BESIDE_A_VIEW = re.compile(
    r"(?<!\w)(?:"
    r"@? ?\d+([.,]\d+)? ?(CM|MM|M|INCH|IN|KVP?|MAS)"  # 180 cm, 125 kV
    r"|(SID|FFD|FDD|SDD)[ :=]*\d+([.,]\d+)?( ?(CM|MM|M|INCH|IN))?"  # the distance of tube and detector
    r"|(W[/ ]?O|WITHOUT|NO|NON)[ -]?(GRID|BUCKY)"
    r"|[B-KMNQS-Z]\d{3,}|[1-9]\d{2,}"  # a procedure's code, W033, 71045; 45, 045 and O045 may be an angle
    r")(?!\w)"
)
"""What says nothing beside a view, and is no view by itself."""

VIEW_CODES: dict[str, str] = {
    code: view
    for view, codes in {
        # PS3.16 CID 4010 DX View: each concept in SNOMED CT (scheme SCT), in SNOMED RT (SRT; SNM3 or 99SDM in older
        # films), and by codes of prior versions of the group. No value has two meanings: the scheme is not looked at.
        PA: ("272479007", "R-40888", "R-10214"),
        AP: ("399348003", "R-10206"),
        LATERAL: (
            "399067008", "R-102CD",  # lateral
            "399198007", "R-10232",  # right lateral
            "399173006", "R-10236",  # left lateral
            "399260004", "R-10224",  # medial-lateral
            "399352003", "R-10228",  # lateral-medial
            "30730003", "G-A145", "R-10222",  # sagittal
        ),
        OBLIQUE: (
            "399182000", "R-102C1",  # oblique
            "399160007", "R-10204",  # frontal oblique
            "399312000", "R-10208",  # antero-posterior oblique
            "399059000", "R-10216",  # postero-anterior oblique
            "399038007", "R-10210",  # right posterior oblique
            "399006002", "R-10212",  # left posterior oblique
            "399356000", "R-40985", "R-10218",  # right anterior oblique
            "399135007", "R-10220",  # left anterior oblique
            "399236003", "R-10234",  # right oblique
            "399184004", "R-10238",  # left oblique
            "260427002", "R-40783",  # lateral oblique
            "260426006", "R-40782",  # medial oblique
            "399368009", "R-10226",  # medio-lateral oblique
            "399099002", "R-10230",  # latero-medial oblique
        ),
        LORDOTIC: (
            "399061009", "R-10241",  # axial
            "399162004", "R-10242",  # cranio-caudal
            "399196006", "R-10244",  # caudo-cranial
            "399004004", "R-10246",  # oblique axial
            "399288005", "R-10248",  # oblique cranio-caudal
            "399225005", "R-10250",  # oblique caudo-cranial
            "399132005", "R-10252",  # frontal-oblique axial
            "399325008", "R-10254",  # sagittal-oblique axial
        ),
        OTHER: (
            "399110001", "R-102C2",  # tangential
            "399255003", "R-10256",  # submentovertical
            "399360002", "R-10257",  # verticosubmental
            "399071006", "R-102C3",  # plantodorsal
            "399335002", "R-102C4",  # dorsoplantar
            "399272005", "R-102C5",  # parietoacanthial
            "399242004", "R-102C6",  # acanthioparietal
            "399351005", "R-102C7",  # orbitoparietal
            "399316002", "R-102C8",  # parieto-orbital
            "119376003", "G-8300",  # tissue specimen
            "260499007", "R-40810",  # occlusal
        ),
        "": ("399033003", "R-10202"),  # frontal: it may be PA or AP
    }.items()
    for code in codes
}  # fmt: skip
MODIFIER_CODES: dict[str, str] = {
    code: view
    for view, codes in {
        # PS3.16 CID 4011 DX View Modifier and CID 20 Patient Orientation Modifier: what makes of PA another picture.
        LATERAL: ("111069",),  # crosstable, DCM
        LORDOTIC: (
            "399162004", "R-10242",  # caudad
            "399196006", "R-10244",  # cephalad
            "260450008", "R-40799",  # lordotic
        ),
        DECUBITUS: (
            "32185000", "F-10318",  # lateral decubitus
            "102536004", "F-10319",  # left lateral decubitus
            "102535000", "F-10317",  # right lateral decubitus
        ),
        OTHER: ("272476000", "R-40885"),  # transthoracic
    }.items()
    for code in codes
}  # fmt: skip

TURNED = "turned"
SIDEWAYS, LENGTHWAYS, THROUGH = frozenset("LR"), frozenset("HF"), frozenset("AP")
"""Directions of Patient Orientation: to the patient's left or right, head or feet, anterior or posterior."""


@dataclass(frozen=True, kw_only=True)
class Code:
    """An item of a code sequence (PS3.3 8.8)."""

    value: str
    meaning: str = ""


def named_views(text: str) -> tuple[str, ...]:
    """The views that View Position (0018,5101) names; () where it names none: ERECT, CHEST, N/A, "".

    Every word must be known, or the text is returned as it is: PA is read neither out of "PATIENT" nor out of "PA
    EXPIRATION".
    """
    plain = unicodedata.normalize("NFKC", text).upper()
    rest = BESIDE_A_VIEW.sub(" ", plain.replace("_", " "))
    words = re.findall(r"[^\W_]+", rest)
    found: list[str] = []
    if not words and plain.strip():  # "?" may be all that is left of another alphabet
        return (plain.strip(),)
    while words:
        if "".join(words[:2]) in WORDS and words[0] not in VIEW_WORDS:  # P.A., POSTERO-ANTERIOR, N/A
            found.append(WORDS["".join(words[:2])])
            words = words[2:]
        elif words[0] in WORDS:
            found.append(WORDS[words.pop(0)])
        else:
            return (plain.strip(),)
    if not any(found) and rest != plain.replace("_", " "):
        return (plain.strip(),)
    return tuple(dict.fromkeys(filter(None, found)))


def coded_views(views: Sequence[Code], modifiers: Sequence[Code] = ()) -> tuple[str, ...]:
    """What View Code Sequence (0054,0220) says, with the modifiers of the view and of the patient's orientation.

    A code that is not in the tables counts by its meaning, where that names a view.
    """
    changed = [view for code in modifiers if (view := MODIFIER_CODES.get(code.value.upper()))]
    if changed:
        return tuple(dict.fromkeys(changed))
    found: list[str] = []
    for code in views:
        known = VIEW_CODES.get(code.value.upper())
        found += [view for view in named_views(code.meaning) if view in VIEWS] if known is None else [known]
    return tuple(dict.fromkeys(view for view in found if view))


def directions(values: Sequence[str]) -> str:
    """Patient Orientation (0020,0020), the directions of rows and columns, as "L\\F"; "" unless it is two of them."""
    plain = [value.strip().upper() for value in values]
    two = len(plain) == 2 and all(re.fullmatch("[LRHFAP]{1,3}", value) for value in plain)
    return "\\".join(plain) if two else ""


def lie(orientation: str) -> str:
    """How the film lies by its `directions`: LATERAL, TURNED (by a quarter, a half or three quarters), or "".

    PS3.3 C.7.6.1.1.1: the attribute tells how the picture is stored and turns nothing. "L\\F" is a frontal film as it
    is read, "R\\F" its mirror image. "" is upright, unknown or nonsense.
    """
    row, column = (direction[0] for direction in (directions(orientation.split("\\")) or "L\\F").split("\\"))
    if {row, column} & THROUGH and {row, column} & LENGTHWAYS:
        return LATERAL
    if {row, column} & SIDEWAYS and {row, column} & LENGTHWAYS and column != "F":
        return TURNED
    return ""


def all_views(position: str, code: str, orientation: str) -> tuple[str, ...]:
    """Every view that the header names, each once: one if its attributes agree, () if they say nothing.

    Args:
        position: View Position as sent.
        code: `coded_views`, joined by backslashes.
        orientation: `directions`.
    """
    lateral = (LATERAL,) if lie(orientation) == LATERAL else ()
    return tuple(dict.fromkeys((*named_views(position), *filter(None, code.split("\\")), *lateral)))
