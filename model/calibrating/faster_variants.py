"""Faster variants of a bundle under its new calibration: kept where they still agree, int8 else made anew."""

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from model.bundle import Bundle
from model.calibrating.labelled_films import LabelledLogits
from model.data.bundle_films import Progress, logits_of
from model.data.dataset import Films
from model.engine.ort import OrtEngine
from model.errors import ModelError
from model.json_value import JsonValue, plain
from model.stats.agreement import Agreement, compare

INT8 = "int8"
Remake = Callable[[Bundle, Path], dict[str, Any]]
"""Makes int8 anew: the bundle as calibrated, a folder to write the file into -> its record. Raises ModelError."""


@dataclass(frozen=True, kw_only=True)
class JudgedVariant(JsonValue):
    """A faster variant under the new calibration."""

    faults: list[str]
    """Why it could not stay as it was, and why none was made anew; empty where it is kept."""
    agreement: dict[str, Agreement]
    """By part of the films; of the old one."""
    remade: bool = False
    """Whether a new one took its place."""

    @property
    def kept(self) -> bool:
        return not self.faults

    def as_dict(self) -> dict[str, Any]:
        """The parts stand beside "kept", "remade" and "faults"."""
        return {"kept": self.kept, "remade": self.remade, "faults": self.faults, **plain(self.agreement)}


@dataclass(frozen=True, kw_only=True)
class Measuring:
    """How variants are measured again; without films they cannot be."""

    films: dict[str, Films] = field(default_factory=dict)
    threads: int = 1
    remake: Remake | None = None
    report: Progress


def judge(
    changed: Bundle, parts: dict[str, LabelledLogits], measuring: Measuring, scratch: Path
) -> tuple[dict[str, dict[str, Any]], dict[str, JudgedVariant], dict[str, Path]]:
    """The manifest's records of the variants that stay, what was found of each, and the files made anew, by name."""
    kept, judged, files = {}, {}, {}
    for precision, record in changed.variants.items():
        faults, agreement, new = ["there are no films to measure it on"], {}, None
        if measuring.films:
            measuring.report(f"measuring {precision} again")
            agreement = _agreements(changed, precision, parts, measuring)
            limits = record.get("limits")
            faults = agreement[next(iter(parts))].faults(**limits) if limits else ["it has no limits on record"]
        if not faults:
            kept[precision] = {key: old for key, old in record.items() if key not in ("val", "test")} | plain(agreement)
        elif measuring.remake and precision == INT8:
            measuring.report(f"{precision} cannot stay: {'; '.join(faults)}")
            try:
                new = measuring.remake(changed, scratch)
            except ModelError as error:
                faults = [*faults, str(error)]
        if new:
            kept[precision], files[str(new["file"])] = new, scratch / str(new["file"])
        elif faults:
            measuring.report(f"{precision} is left out: {'; '.join(faults)}. 'xrayq compile' makes one")
        judged[precision] = JudgedVariant(faults=faults, agreement=agreement, remade=new is not None)
    return kept, judged, files


def _agreements(
    changed: Bundle, precision: str, parts: dict[str, LabelledLogits], measuring: Measuring
) -> dict[str, Agreement]:
    engine = OrtEngine(changed, threads=measuring.threads, precision=precision)
    try:
        return {
            name: compare(changed, parts[name].logits, logits_of(engine, part), part.labels)
            for name, part in measuring.films.items()
        }
    finally:
        engine.close()
