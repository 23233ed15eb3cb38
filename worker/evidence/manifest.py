"""What manifest.json and a film's trail.json hold, as values: written when a pack is made, read when it is verified."""

from dataclasses import dataclass
from typing import Any

from model.json_value import ReadableJson
from worker.evidence.zip_file import Written


@dataclass(frozen=True, kw_only=True)
class ManifestFilm:
    """A revision of a film."""

    instance: int
    sop_instance_uid: str
    revision: int
    state: str
    film_digest: str
    """SHA-256 of the file as it was received."""
    bundles: tuple[str, ...]
    """Digests of those whose score it has."""


@dataclass(frozen=True, kw_only=True)
class ManifestBundle:
    """A bundle that scored a film of the pack."""

    digest: str
    title: str = ""
    version: str = ""
    why_not: str = ""
    """Why the pack has not its manifest; "" where it has."""


@dataclass(frozen=True, kw_only=True)
class ManifestTrail:
    """What verifying the hospital's whole audit trail found when the pack was made. It names no film."""

    whole: bool
    rows: int
    head: str
    """Digest of the last whole row."""
    broken_row: int | None
    """Id of the first that is not."""
    scores_checked: int
    scores_before: int
    """Of a release that kept no digest."""
    scores_wrong: int


@dataclass(frozen=True, kw_only=True)
class Manifest(ReadableJson):
    format: str
    notice: str
    made_at: str
    """ISO 8601, by the clock of the database."""
    made_by: str
    site: str
    asked_for: str
    """How the films were named: a kind of `films.Kind`. The name itself may be an Accession Number."""
    versions: dict[str, str | None]
    key: dict[str, str]
    audit_trail: ManifestTrail
    films: tuple[ManifestFilm, ...]
    bundles: tuple[ManifestBundle, ...]
    files: tuple[Written, ...]
    """Every other file but the signature."""


@dataclass(frozen=True, kw_only=True)
class RowName:
    id: int
    digest: str


@dataclass(frozen=True, kw_only=True)
class RowTies:
    """A row of the audit trail and its neighbours in it, of whatever film those are."""

    id: int
    digest: str
    before: RowName | None
    after: RowName | None


@dataclass(frozen=True, kw_only=True)
class DayHead:
    """Where the chain ended when a day of the site did, or when the pack was made."""

    day: str
    zone: str
    head: RowName | None
    report: dict[str, Any] | None
    """The report of that night, of which `anchor` is the head's digest; None where there is none yet."""


@dataclass(frozen=True, kw_only=True)
class TrailTies(ReadableJson):
    """Of a film."""

    rows: tuple[RowTies, ...]
    """In the order of trail.jsonl."""
    days: tuple[DayHead, ...]
    """On which there is a row."""
