"""Whether Body Part Examined names a part of the body that a site scores, in the languages that consoles write."""

import re
import unicodedata
from collections.abc import Sequence

CHEST, LUNG = "CHEST", "LUNG"
SYNONYMS: dict[str, str] = {
    word: part
    for part, words in {
        # Without accents and blanks. Only words that mean nothing else: a Dutch lung is "long", which is not here.
        CHEST: (
            "CHEST", "THORAX", "TORAX", "TORACE", "TORAKS", "BRUST", "BRUSTKORB", "BORSTKAS", "BROSTKORG",
            "BRYSTKASSE", "POITRINE", "PECHO", "PEITO", "PETTO", "HRUDNIK", "MELLKAS", "GOGUS", "HEMITHORAX",
            "CAGETHORACIQUE", "CAJATORACICA", "CAIXATORACICA", "GABBIATORACICA", "KLATKAPIERSIOWA",
        ),
        LUNG: (
            "LUNG", "LUNGS", "LUNGE", "LUNGEN", "LUNGER", "LUNGOR", "LONGEN", "POUMON", "POUMONS", "PULMON", "PULMONES",
            "PULMAO", "PULMOES", "PULMO", "PULMONE", "PULMONI", "POLMONE", "POLMONI", "PLUCA", "PLICE", "AKCIGER",
        ),
    }.items()
    for word in words
}  # fmt: skip
WORDS_BESIDE = frozenset(
    ("PA", "AP", "XR", "CXR", "RX", "RTG", "RAD", "RADIOGRAFIA", "RADIOGRAPHIE", "DE", "DEL", "DI")
)
"""A synonym beside another word than these may be something else: BRUST WIRBELSAEULE is the spine."""
BEGINNINGS = {
    # Words that a part's own names begin: CHESTPA, LUNGENAUFNAHME. Not within a word: EINSTELLUNG is no lung.
    CHEST: r"(CHEST|THORAX)\w*",
    LUNG: r"LUNG(S|E|EN\w*)?",
}


def is_one_of(text: str, names: Sequence[str]) -> bool:
    """Whether this Body Part Examined is one of these parts. A name that is a synonym stands for its part.

    A part's own name may have other words beside it (CHEST PA), a synonym only words that are known.
    """
    plain = _plain(text)
    wanted = {SYNONYMS.get("".join(_words(_plain(name))), _plain(name)) for name in names}
    begin = "|".join(BEGINNINGS.get(part) or re.escape(part) + r"\w*" for part in wanted)
    if re.search(rf"(?<![^\W\d_])({begin})(?![^\W\d_])", plain):
        return True
    words = [word for word in _words(plain) if word not in WORDS_BESIDE]
    found: set[str | None] = {SYNONYMS.get("".join(words))}  # CAGE THORACIQUE
    if None in found:
        found = {SYNONYMS.get(word) for word in words}
    return None not in found and bool(found & wanted)


def _plain(text: str) -> str:
    """Upper case, without accents."""
    parts = unicodedata.normalize("NFKD", text.upper())
    return "".join(letter for letter in parts if not unicodedata.combining(letter)).strip()


def _words(plain: str) -> list[str]:
    return re.findall(r"[^\W\d_]+", plain)
