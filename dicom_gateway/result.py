"""What was found on one film, as it goes back to the hospital. The objects that carry it are made from this alone."""

from dataclasses import dataclass
from datetime import datetime

from pydicom.dataset import Dataset

from dicom_gateway.uids import derived_uid


def spoken(name: str) -> str:
    """A finding's name as people write it: COVID-19, not normal."""
    return "COVID-19" if name == "covid19" else name.replace("_", " ")


@dataclass(frozen=True, kw_only=True)
class FindingResult:
    """What a score says of one finding, or of all but the negative one together."""

    name: str
    """The bundle's own, such as covid19 or not_normal; `spoken` where a person reads it."""
    probability: float
    """0..1"""
    interval: tuple[float, float] | None = None
    """Of the probability, 95 %."""
    operating_point: float | None = None
    """The smallest probability with which the flag is up; None: it has no flag."""
    chosen_for: str = ""
    """What the operating point was chosen for, in words, such as "specificity at least 0.90"."""
    flag: bool = False


@dataclass(frozen=True, kw_only=True)
class Algorithm:
    """What made the result."""

    name: str
    version: str
    """Of the bundle."""
    bundle_digest: str
    """SHA-256, 64 hex digits."""
    software_version: str
    engine: str

    @property
    def device_uid(self) -> str:
        """The same for every result of a bundle."""
        return derived_uid("device", self.bundle_digest)


@dataclass(frozen=True, kw_only=True)
class NotAnalysed:
    """Why there is no score."""

    code: str
    """Such as not_pa: no spaces, at most 64 characters."""
    meaning: str
    """A sentence that a radiologist understands."""
    named: str = ""
    """What it is of this film, such as LL for a view; no free text of the header."""

    @property
    def words(self) -> str:
        """Of this film; `meaning` is the same for each."""
        return f"{self.meaning.rstrip('.')}: {self.named}." if self.named else self.meaning


@dataclass(frozen=True, kw_only=True)
class SentBefore:
    """An object of ours that this one replaces (PS3.3 C.17.2, Predecessor Documents Sequence)."""

    study_instance_uid: str
    series_instance_uid: str
    sop_class_uid: str
    sop_instance_uid: str


@dataclass(frozen=True, kw_only=True)
class Found:
    """What was found on a film, or why nothing was."""

    findings: tuple[FindingResult, ...] = ()
    """In the order to show; () where it was not analysed."""
    prediction_set: tuple[str, ...] | None = None
    """Names of findings that the film may have; None where the bundle makes no sets."""
    notes: tuple[NotAnalysed, ...] = ()
    """Reasons under which it was analysed all the same."""
    not_analysed: NotAnalysed | None = None

    @property
    def unsure(self) -> bool:
        """Whether the prediction set names several findings, or none."""
        return self.prediction_set is not None and len(self.prediction_set) != 1


@dataclass(frozen=True, kw_only=True)
class FilmResult(Found):
    """One film's result."""

    film: Dataset
    """The film's header without its pixels, as it was sent. Patient, study and equipment are copied from it, and it may
    have any fault that a film can have: missing or empty attributes, odd values, any character set."""
    film_digest: str
    """SHA-256 of the film's file, 64 hex digits."""
    revision: int = 1
    """Of the film under its SOP Instance UID. One that was corrected and put back has the file of the first again, and
    is another result."""
    at: datetime
    """When it was scored, or found not to be analysed; with a time zone."""
    algorithm: Algorithm
    replaces: tuple[SentBefore, ...] = ()
    told_before: tuple[Found, ...] = ()
    """What messages to the same destination said of the film's earlier revision; what does not hold any more is taken
    back."""

    @property
    def identity(self) -> tuple[str, str, str, str]:
        """What makes it this result: with the kind of object, what UIDs are derived from.

        A film that was not analysed may be analysed by the same bundle later, under other settings. A PACS that holds
        the first object would drop a second one of the same UID.
        """
        outcome = self.not_analysed.code if self.not_analysed else "analysed"
        return (self.film_digest, str(self.revision), self.algorithm.bundle_digest, outcome)
