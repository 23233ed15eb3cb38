"""An item of a reporting guideline, and what this project has of it."""

from dataclasses import dataclass
from typing import Literal

Status = Literal["met", "partly", "not met", "not applicable"]
MET: Status = "met"
PARTLY: Status = "partly"
NOT_MET: Status = "not met"
NOT_APPLICABLE: Status = "not applicable"
STATUSES = (MET, PARTLY, NOT_MET, NOT_APPLICABLE)


@dataclass(frozen=True, kw_only=True)
class Item:
    number: str
    """The guideline's own."""
    subject: str
    """In own words, short."""
    status: Status
    where: tuple[str, ...] = ()
    """Pages of this project, from model/: FILE or FILE#heading."""
    why: str = ""
    """What is missing, or why it does not apply."""


@dataclass(frozen=True, kw_only=True)
class Guideline:
    name: str
    source: str
    about: str
    """What it is for, and which of it is here."""
    items: tuple[Item, ...]

    def counts(self) -> dict[str, int]:
        return {status: sum(item.status == status for item in self.items) for status in STATUSES}


def met(number: str, subject: str, *where: str) -> Item:
    return Item(number=number, subject=subject, status=MET, where=where)


def partly(number: str, subject: str, why: str, *where: str) -> Item:
    return Item(number=number, subject=subject, status=PARTLY, where=where, why=why)


def not_met(number: str, subject: str, why: str) -> Item:
    return Item(number=number, subject=subject, status=NOT_MET, why=why)


def not_applicable(number: str, subject: str, why: str) -> Item:
    return Item(number=number, subject=subject, status=NOT_APPLICABLE, why=why)


# Pages that many items name.
IS = "CARD.md#what-it-is"
USE = "CARD.md#intended-use"
IGNORE = "CARD.md#when-to-ignore-a-score"
MEASURED = "CARD.md#what-it-was-measured-to-do"
PEOPLE = "CARD.md#films-and-people"
LEFT_OUT = "CARD.md#films-left-out"
WHOSE = "CARD.md#whose-films"
SIZE = "CARD.md#sample-size"
LABELS = "CARD.md#reference-standard"
INFLUENCE = "CARD.md#what-test-films-may-have-influenced"
HARMS = "CARD.md#harms"
LIMITS = "CARD.md#what-it-can-and-cannot-do"
DATA = "CARD.md#data-and-licences"
MADE = "CARD.md#how-it-was-made"
GATE = "CARD.md#the-gate"
INT8 = "CARD.md#in-int8"
FILMS = "TRAINING.md#films"
START = "TRAINING.md#where-a-training-starts"
TRAINING = "TRAINING.md#training"
EVALUATION = "TRAINING.md#evaluation"
WHOLE = "TRAINING.md#from-films-to-a-bundle-whole"
CALIBRATE = "CALIBRATION.md#what-it-writes"
PROMISE = "CALIBRATION.md#what-a-target-promises"
PREVALENCE = "CALIBRATION.md#at-the-prevalence-of-your-hospital"
CALIBRATED = "CALIBRATION.md#what-it-did-for-the-shipped-bundle"
CONFORMANCE = "../dicom_gateway/CONFORMANCE.md#pixels"
ELIGIBILITY = "../dicom_gateway/CONFORMANCE.md#eligibility"
CANNOT = "../README.md#what-it-cannot-do-yet"
README = "../README.md"
DRIFT = "../worker/GUIDE.md#watch-drift"
BUNDLE_GUIDE = "../worker/GUIDE.md#change-the-bundle"
LICENCE = "../LICENSE"
