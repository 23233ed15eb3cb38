"""The character set of an object that holds a film's texts and ours (PS3.3 C.12.1.1.2)."""

import re
import warnings
from collections.abc import Iterable

from pydicom.charset import convert_encodings, decode_bytes, encode_string, python_encoding
from pydicom.dataset import Dataset
from pydicom.valuerep import CUSTOMIZABLE_CHARSET_VR, PersonName

from dicom_gateway.values import texts

UTF_8 = "ISO_IR 192"


def set_character_set(report: Dataset, film: Dataset) -> None:
    """Set Specific Character Set: the film's where it can write every text, else UTF-8; none for ASCII alone.

    The film's comes first, because a PACS that knows no UTF-8 shows its names from it.
    """
    written = list(_written(report))
    terms = texts(film, "SpecificCharacterSet")
    known = any(terms) and all(term in python_encoding for term in terms)
    if known and _can_write(terms, written):
        report.SpecificCharacterSet = terms if len(terms) > 1 else terms[0]
    elif not all(value.isascii() for value in written):
        report.SpecificCharacterSet = UTF_8
    elif "SpecificCharacterSet" in report:
        del report.SpecificCharacterSet


def _written(dataset: Dataset) -> Iterable[str]:
    """Every text whose bytes the character set decides, names by their parts: each begins in the first set again."""
    for element in dataset.iterall():
        if element.VR in CUSTOMIZABLE_CHARSET_VR and element.value:
            values = [element.value] if isinstance(element.value, (str, PersonName)) else element.value
            for value in values:
                yield from re.split(r"[\^=]", str(value))


def _can_write(terms: list[str], written: list[str]) -> bool:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of a combination of terms that is none, or a text that does not fit
        encodings = convert_encodings(terms)
        try:
            return all(decode_bytes(encode_string(text, encodings), encodings, set()) == text for text in written)
        except LookupError:  # pydicom writes no empty part where the first set is a Japanese one
            return False
