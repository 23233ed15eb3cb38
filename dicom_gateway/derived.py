"""Whether a picture is the film itself, or one that was made from it: by Image Type and by how it was derived.

A console that processed a film for display calls it DERIVED too, and so does an archive that compressed it: these are
ordinary films, DERIVED\\PRIMARY. Free text counts only where a phrase has no other meaning.
"""

import re
from collections.abc import Iterable, Sequence

from dicom_gateway.views import Code

SECONDARY, DUAL_ENERGY, BONE_SUPPRESSED, CAD, LOCALIZER, COMPUTED = (
    "secondary", "dual_energy", "bone_suppressed", "cad", "localizer", "computed",
)  # fmt: skip

TYPE_WORDS: dict[str, str] = {
    word: kind
    for kind, words in {
        # Words in value 3 and later of Image Type (PS3.3 C.7.6.1.1.2), which vendors fill in as they like; the first
        # that applies counts.
        LOCALIZER: ("LOCALIZER", "LOCALISER", "SCOUT", "TOPOGRAM"),  # PS3.3 C.8.2.1.1.1, CT
        BONE_SUPPRESSED: ("SUPPRESSED", "SUPPRESSION", "BONESUPPRESSED", "BONESUPPRESSION"),
        DUAL_ENERGY: (
            "BONE", "SOFT", "TISSUE", "SOFTTISSUE", "SUBTRACTION", "SUBTRACTED", "RECOMBINED",
            "ENERGY",  # DUAL_ENERGY, LOW_ENERGY
        ),
        CAD: ("CAD", "CADMARKED", "MARKED", "HEATMAP"),
        COMPUTED: ("TOMOSYNTHESIS", "TOMO", "MPR", "MIP", "REFORMATTED", "STITCHED"),
    }.items()
    for word in words
}  # fmt: skip
NOT_TYPE_WORDS = re.compile(r"HIGH[_ ]ENERGY")
"""The ordinary film of a dual-energy pair."""

DERIVATIONS: dict[str, str] = {
    # PS3.16 CID 7203 Image Derivation, scheme DCM. Those that are not here leave a film a film: lossy compression
    # (113040), resampling (113085), edge enhancement, smoothing, unsharp mask (113086-113089).
    "113062": DUAL_ENERGY,  # pixel by pixel subtraction
    "113097": DUAL_ENERGY,  # multi-energy proportional weighting
    "113072": COMPUTED,  # multiplanar reformatting
    "113073": COMPUTED,  # curved multiplanar reformatting
    "113074": COMPUTED,  # volume rendering
    "113075": COMPUTED,  # surface rendering
    "113076": COMPUTED,  # segmentation
    "113078": COMPUTED,  # maximum intensity projection
    "113079": COMPUTED,  # minimum intensity projection
    "113090": COMPUTED,  # image stitching
    "113091": COMPUTED,  # spatially-related frames extracted from the volume
}
LOSSY_COMPRESSION, SPATIAL_RESAMPLING = "113040", "113085"
HARMLESS = frozenset((LOSSY_COMPRESSION, SPATIAL_RESAMPLING))
"""Of CID 7203: what archives do to a film that they keep or send on."""
COMPRESSION_WORDS = frozenset((
    "LOSSY", "IRREVERSIBLE", "IRREVERSIBLY", "COMPRESSED", "COMPRESSION", "JPEG", "JPEG2000", "J2K", "JPG", "LS",
    "KOMPRESSION", "KOMPRIMIERT", "VERLUSTBEHAFTET", "COMPRESION", "COMPRESSAO", "COMPRESSIONE",
))  # fmt: skip
WORDS_BESIDE_COMPRESSION = frozenset((
    "IMAGE", "WAS", "BY", "WITH", "USING", "TO", "OF", "AT", "A", "AN", "THE", "AND", "IN",
    "RATIO", "QUALITY", "FACTOR", "IJG", "BIT", "BITS", "BASELINE", "EXTENDED", "SEQUENTIAL", "PROCESS", "NEAR",
    "LOSSLESS", "WAVELET", "PART",
))  # fmt: skip
"""Derivation Description (0008,2111) is about compression alone where each word is one of these or a number."""

PHRASES: dict[str, str] = {
    # Of Series Description (0008,103E) and Derivation Description (0008,2111), letters and digits alone.
    r"(BONE|RIB)S? ?(SUPPRESS|SUBTRACT|REMOV)": BONE_SUPPRESSED,
    r"\b(CLEARREAD|SOFTVIEW)": BONE_SUPPRESSED,  # product names
    r"\b(DUAL ENERGY|DE|DES) (BONE|SOFT)": DUAL_ENERGY,
    r"\b(BONE|SOFT TISSUE)S? (IMAGE|ONLY|DUAL ENERGY)": DUAL_ENERGY,
    r"(^|\b(CHEST|THORAX|PA) )(BONE|SOFT TISSUE)S?$": DUAL_ENERGY,
    r"\bENERGY SUBTRACT": DUAL_ENERGY,
    r"\bCAD (MARK|OVERLAY|RESULT)|\bCOMPUTER (AIDED|ASSISTED) D|\bHEAT ?MAP": CAD,
}
NOT_BEFORE = re.compile(r"(\b(NO|NON|NOT|WITHOUT|W O)|^OFF) $")
NOT_BEHIND = re.compile(r"\w* (OFF|NOT APPLIED)\b")
"""Around a phrase: it says what was not done. W O is w/o; OFF in the middle belongs to what is
before it."""

DIGITISED_FILM = "DF"
"""Of Conversion Type (0008,0064), PS3.3 C.8.6.1: a film that was scanned. The others are made at a
workstation, drawn, or taken from video or paper."""
SECONDARY_CAPTURE = "1.2.840.10008.5.1.4.1.1.7"


def derived_as(
    image_type: Sequence[str],
    *,
    sop_class_uid: str,
    derivations: Sequence[Code] = (),
    lossy: str = "",
    conversion: str = "",
    descriptions: Iterable[str] = (),
    derivation_descriptions: Sequence[str] = (),
) -> str:
    """What was made of the film, one of the kinds above; "" for the film itself.

    Args:
        image_type: values of Image Type (0008,0008).
        derivations: items of Derivation Code Sequence (0008,9215).
        lossy: Lossy Image Compression (0028,2110).
        conversion: Conversion Type (0008,0064).
        descriptions: values of Series Description (0008,103E).
        derivation_descriptions: of Derivation Description (0008,2111).
    """
    types = [value.upper().strip() for value in image_type]
    words = re.split(r"[^A-Z0-9]+", NOT_TYPE_WORDS.sub("", " ".join(types[2:])))
    if kind := next((kind for word, kind in TYPE_WORDS.items() if word in words), ""):
        return kind
    for code in derivations:
        if code.value in DERIVATIONS:
            return DERIVATIONS[code.value]
    for text in (*descriptions, *derivation_descriptions):
        plain = re.sub(r"[^A-Z0-9]+", " ", text.upper()).strip()
        for phrase, kind in PHRASES.items():
            for match in re.finditer(phrase, plain):
                if not NOT_BEFORE.search(plain[: match.start()]) and not NOT_BEHIND.match(plain[match.end() :]):
                    return kind
    if not {"DERIVED", "SECONDARY"} <= set(types[:2]):
        return ""
    harmless = all(code.value in HARMLESS for code in derivations)
    if harmless and conversion.upper() == DIGITISED_FILM:
        return ""
    only_compressed = harmless if derivations else _is_compression(derivation_descriptions)
    # Some archives write DERIVED\\SECONDARY when they compress a film. A secondary capture was no film before.
    if only_compressed and lossy == "01" and not sop_class_uid.startswith(SECONDARY_CAPTURE):
        return ""
    return SECONDARY


def _is_compression(descriptions: Sequence[str]) -> bool:
    """They say that the film was compressed, and nothing else."""
    words = re.findall(r"[A-Z0-9]+", " ".join(descriptions).upper())
    known = all(word in COMPRESSION_WORDS | WORDS_BESIDE_COMPRESSION or word.isdecimal() for word in words)
    return known and any(word in COMPRESSION_WORDS for word in words)
