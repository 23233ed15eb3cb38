"""Films as the tables of one or several folders list them, and which of them are wanted by source and licence."""

import os
import re
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from model.data.raw_films import METADATA, read_table
from model.errors import DatasetError
from model.findings import negative_of

NOT_GIVEN = "not given"
NAME = re.compile("[a-z][a-z0-9_]{0,31}")
"""Of a finding: it becomes part of column names, and the database takes 32 letters."""


@dataclass(frozen=True, kw_only=True)
class ListedFilm:
    """One row of a folder's metadata.csv."""

    folder: Path
    set: str
    """Name of the folder."""
    cells: dict[str, str]
    """By column."""

    @property
    def name(self) -> str:
        return self.cells["image_id"]

    @property
    def source(self) -> str:
        return self.cells.get("source", "")

    @property
    def licence(self) -> str:
        return self.cells.get("license", "")


@dataclass(frozen=True, kw_only=True)
class Choice:
    """Which films are wanted. An empty tuple asks for nothing."""

    sources: tuple[str, ...] = ()
    """Only these."""
    without_sources: tuple[str, ...] = ()
    licences: tuple[str, ...] = ()
    """Only films whose licence has one of these texts in it, in capitals or not."""
    without_licences: tuple[str, ...] = ()
    """Nor films whose licence has one of these in it."""

    def reason_against(self, film: ListedFilm) -> str:
        """Why a film is not wanted; "" where it is."""
        if (self.sources and film.source not in self.sources) or film.source in self.without_sources:
            return f"source {film.source or NOT_GIVEN}"
        licence = film.licence.lower()
        if self.licences and not _has_one(licence, self.licences):
            return f"licence {film.licence or NOT_GIVEN}"
        return f"licence {film.licence or NOT_GIVEN}" if _has_one(licence, self.without_licences) else ""


def _has_one(text: str, parts: Iterable[str]) -> bool:
    return any(part.lower() in text for part in parts)


def read_tables(folders: Sequence[Path], required: set[str], about: str) -> list[ListedFilm]:
    """The rows of every folder's table, folder by folder.

    Raises:
        DatasetError: as `read_table`, or two folders have one name, by which `set` tells a film's folder.
    """
    names = [os.path.basename(os.path.abspath(folder)) for folder in folders]  # noqa: PTH100, PTH119 - `.` and `..`
    if repeated := [name for name, count in Counter(names).items() if count > 1]:
        raise DatasetError(f"two folders are called {repeated[0]}: films are told apart by the name of their folder")
    return [
        ListedFilm(folder=folder, set=name, cells=cells)
        for folder, name in zip(folders, names, strict=True)
        for cells in read_table(folder / METADATA, required, about)
    ]


def choose(films: Sequence[ListedFilm], choice: Choice) -> tuple[list[ListedFilm], dict[str, int]]:
    """The films wanted, and how many are not, by reason.

    Raises:
        DatasetError: a source of the choice has no film, a licence's text is empty, or no film is left.
    """
    sources = {film.source for film in films}
    if unknown := [name for name in (*choice.sources, *choice.without_sources) if name not in sources]:
        known = ", ".join(sorted(filter(None, sources))) or "none"
        raise DatasetError(f"no film has the source {unknown[0]!r}; there are {known}")
    if not all((*choice.licences, *choice.without_licences)):
        raise DatasetError("an empty text is in every licence: say which licences")
    reasons = [choice.reason_against(film) for film in films]
    left_out = Counter(filter(None, reasons))
    kept = [film for film, reason in zip(films, reasons, strict=True) if not reason]
    if not kept:
        raise DatasetError(f"no film is left of these sources and licences: {dict(left_out)}")
    return kept, dict(left_out)


def licences(films: Iterable[ListedFilm]) -> dict[str, int]:
    """Films by licence as stated, the most first."""
    return dict(Counter(film.licence or NOT_GIVEN for film in films).most_common())


def check_findings(findings: tuple[str, ...]) -> None:
    """Raises DatasetError where these are no findings of a network."""
    if len(findings) < 2 or len(set(findings)) < len(findings):
        names = ", ".join(findings) or "none"
        raise DatasetError(f"findings {names}: at least two that differ, the negative one first")
    if negative_of(findings) != findings[0]:
        raise DatasetError(
            f"findings {', '.join(findings)}: {negative_of(findings)} is the negative one, name it first"
        )
    if wrong := [name for name in findings if not NAME.fullmatch(name)]:
        raise DatasetError(f"finding {wrong[0]!r}: small letters, digits and _, a letter first, at most 32")
