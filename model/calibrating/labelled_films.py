"""Films to calibrate on: of a prepared set, scored here, or of a table with a site's own logits and labels.

The table is CSV with a header. Columns: `label`, a `logit_` column for each finding (`logit_covid19`), and where known
`patient_id` (or `patient`; without it each film counts as a patient, and that is said), `image_id` (not read), `bundle`
(digest of the bundle that gave the logits, its first 12 digits or more), `split` (rows of train, test and more are
left out) and what tells the X-ray device: `calling_ae`, `manufacturer`, `model_name`, `station`.
"""

import csv
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from math import ceil, isfinite
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from model.bundle import Bundle
from model.calibrating.fitting import FOLDS, REPEATS, folds
from model.data.bundle_films import Advance, films_for, logits_of
from model.data.dataset import Films
from model.decision import SENSITIVITY, truth_of
from model.engine.base import Engine
from model.errors import BundleError, DatasetError
from model.stats.thresholds import OperatingTarget
from model.xray_devices import DeviceMatch, XrayDevice, device_of, with_device

OTHER_PARTS = ("train", "test", "more")
"""Never calibrated on."""
NO_PATIENT = "\0line "
"""Begins what stands for the patient of a row that names none; no table writes a NUL."""
LARGEST = float(np.finfo(np.float32).max) / 4
"""Of a logit: so differences of two are finite in float32, too."""
FEWEST = 20
"""Films of each finding. With fewer, the threshold for a sensitivity of .95 is that of the lowest positive film."""


@dataclass(frozen=True, kw_only=True)
class LabelledLogits:
    """Films with what the network said of them. Row i of everything is the same film."""

    name: str
    """Name of the split: val, test; or site, for a table."""
    logits: NDArray[np.float32]
    """[N, findings]"""
    labels: NDArray[np.int64]
    """[N] index of the finding."""
    patients: tuple[str, ...]
    repeated: int = 0
    """Rows of a table that were left out: each repeats an earlier film."""

    @property
    def films_as_patients(self) -> int:
        """Films that name no patient: each counts as one."""
        return sum(patient.startswith(NO_PATIENT) for patient in self.patients)

    def __len__(self) -> int:
        return len(self.labels)

    def take(self, rows: NDArray[np.int64]) -> "LabelledLogits":
        return LabelledLogits(
            name=self.name,
            logits=self.logits[rows],
            labels=self.labels[rows],
            patients=tuple(self.patients[row] for row in rows),
        )


def open_films(bundle: Bundle, folder: Path) -> tuple[dict[str, Films], str]:
    """Films of the validation split and, where there is one, of the test split; and the digest of the prepared set.

    Of the views that the bundle is for.

    Raises:
        DatasetError: not a prepared set, prepared otherwise than the bundle needs, or without validation films.
    """
    dataset = films_for(bundle, folder)
    if "val" not in dataset.splits:
        raise DatasetError(
            f"{folder} has no films of the split val and of view {', '.join(dataset.views) or 'any'} to calibrate on"
        )
    return {name: films for name, films in dataset.splits.items() if name in ("val", "test")}, dataset.digest


def labelled(name: str, films: Films, engine: Engine, advance: Advance = lambda _done, _all: None) -> LabelledLogits:
    """Films of the split `name`, scored."""
    return LabelledLogits(
        name=name, logits=logits_of(engine, films, advance), labels=films.labels, patients=films.patients
    )


def to_calibrate_on(row: dict[str, str]) -> bool:
    """Whether a row of a table is of no split that another purpose needs."""
    return row.get("split", "val") not in OTHER_PARTS


def of_no_device(bundle: Bundle) -> Callable[[dict[str, str]], bool]:
    """Whether a row is to calibrate the bundle's own calibration on: also of no device that has another."""
    return lambda row: to_calibrate_on(row) and not bundle.device_of(XrayDevice.of_row(row))


def read_table(
    bundle: Bundle,
    path: Path,
    wanted: Callable[[dict[str, str]], bool] = to_calibrate_on,
    *,
    asked: str = "to calibrate on",
    columns: Sequence[str] = (),
) -> LabelledLogits:
    """A site's own films as the split "site".

    Args:
        wanted: rows to take, by their cells.
        asked: what these are, in words.
        columns: that it needs beside label and logits.

    Raises:
        DatasetError: not such a table; the message names the column or the line, and no patient or film.
    """
    try:
        with path.open(newline="", encoding="utf-8-sig") as handle:
            reader = csv.DictReader(handle)
            found = tuple(reader.fieldnames or ())
            rows = [(reader.line_num, row) for row in reader if wanted(row)]
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise DatasetError(f"{path} is not a CSV table: {error}") from None
    if missing := [name for name in ("label", *_logit_columns(bundle), *columns) if name not in found]:
        needed = f"label{''.join(f', {name}' for name in columns)} and a logit of each finding"
        raise DatasetError(f"{path} has no column {', '.join(missing)}; it needs {needed}")
    if not rows:
        raise DatasetError(f"{path} has no films {asked}")
    logits, labels, patients = [], [], []
    for line, row in rows:
        if row["label"] not in bundle.findings:
            raise DatasetError(f"{path}, line {line}: label is not one of {', '.join(bundle.findings)}")
        if row.get("bundle") and not _same(row["bundle"], bundle):
            raise DatasetError(
                f"{path}, line {line}: logits of bundle {row['bundle'][:12]}, not of {bundle.digest[:12]} or its parent"
            )
        logits.append([_finite(row[name], f"{path}, line {line}: {name}") for name in _logit_columns(bundle)])
        labels.append(bundle.findings.index(row["label"]))
        patients.append(row.get("patient_id") or row.get("patient") or f"{NO_PATIENT}{line}")
    films = LabelledLogits(
        name="site",
        logits=np.array(logits, np.float32),
        labels=np.array(labels, np.int64),
        patients=tuple(patients),
    )
    return _once_each(films)


def read_device_table(bundle: Bundle, path: Path, device: DeviceMatch) -> LabelledLogits:
    """The rows of a table that the bundle would take for the device's with a calibration of it, as of `read_table`.

    Raises BundleError where another device takes the same films.
    """
    others = [other for other in bundle.devices if other.name != device.name]
    if same := next((other for other in others if other.same_films(device)), None):
        raise BundleError(f"device {same.name} takes the same films as {device.name}: {device.words}")
    order = with_device(bundle.devices, device)
    asked = order[: order.index(device) + 1]  # a film of one of these is no other's
    return read_table(
        bundle,
        path,
        lambda row: to_calibrate_on(row) and device_of(XrayDevice.of_row(row), order) == device.name,
        asked=f"of device {device.name} ({device.words}) to calibrate on",
        columns=sorted({name for one in asked for name in one.match}),
    )


def check(
    name: str,
    labels: NDArray[np.int64],
    patients: Sequence[str],
    findings: tuple[str, ...],
    targets: Iterable[OperatingTarget],
    coverage: float,
) -> None:
    """Raises DatasetError, which says has / needs of everything, when there are too few films for what is asked, or
    too few patients: each fold leaves patients out, and what is fitted on the others needs films of each finding.

    Args:
        name: of the split.
        labels: [N] indexes of findings.
        patients: the patient of each film, [N].
    """
    enough = max(FEWEST, ceil(coverage / (1 - coverage) - 1e-9))
    counts = {finding: int((labels == index).sum()) for index, finding in enumerate(findings)}
    needs = [(finding, count, enough) for finding, count in counts.items()]
    for target in targets:
        positive = truth_of(target.finding, labels, findings)
        number = int(positive.sum() if target.rate == SENSITIVITY else (~positive).sum())
        which = target.finding if target.rate == SENSITIVITY else f"without {target.finding}"
        fewest = ceil(1 / (1 - target.value) - 1e-9)
        needs.append((f"{which} for {target.rate} {target.value:g}", number, fewest))
    names = np.asarray(patients)
    people = [(finding, len(np.unique(names[labels == index])), FOLDS) for index, finding in enumerate(findings)]
    short = [
        what
        for what, own in (("films", needs), ("patients", people))
        if any(count < fewest for _, count, fewest in own)
    ]
    if short:
        films, persons = (
            ", ".join(f"{which} {count} / {fewest}" for which, count, fewest in own) for own in (needs, people)
        )
        raise DatasetError(
            f"{name} has too few {' and '.join(short)} to calibrate on. Films it has / needs: {films}; "
            f"patients: {persons}"
        )
    for seed in range(REPEATS):
        fold = folds(labels, patients, FOLDS, seed)
        for index, finding in enumerate(findings):
            if len(np.unique(fold[labels == index])) == 1:  # patients who have films of other findings, too
                raise DatasetError(
                    f"{name} has too few patients to calibrate on: by patient, all films of {finding} fall into one of "
                    f"{FOLDS} folds"
                )


def check_finite(part: LabelledLogits) -> None:
    """Raises DatasetError when a logit is not finite."""
    if not np.isfinite(part.logits).all():
        raise DatasetError(f"{int((~np.isfinite(part.logits)).any(axis=1).sum())} films have non-finite logits")


def _logit_columns(bundle: Bundle) -> list[str]:
    return [f"logit_{name}" for name in bundle.findings]


def _same(digest: str, bundle: Bundle) -> bool:
    """Whether a digest, or its beginning, is that of the bundle or of one that it was derived from."""
    return len(digest) >= 12 and any(known.startswith(digest) for known in bundle.of_same_network)


def _finite(text: str | None, where: str) -> float:
    try:
        value = float(text or "")
    except ValueError:
        raise DatasetError(f"{where} is not a number") from None
    if not isfinite(value):
        raise DatasetError(f"{where} is not finite")
    if abs(value) > LARGEST:
        raise DatasetError(f"{where} is too large for float32")
    return value


def _once_each(films: LabelledLogits) -> LabelledLogits:
    """Without rows that are like an earlier one in label and all logits: a film that was sent again, with a corrected
    header say, has the same pixels, and is one film whatever patient it names."""
    known: dict[tuple[int, bytes], int] = {}
    rows = zip(films.labels.tolist(), films.logits + 0.0, strict=True)  # -0 is 0
    for row, (label, logits) in enumerate(rows):
        known.setdefault((label, logits.tobytes()), row)
    first = np.array(list(known.values()), np.int64)
    return replace(films.take(first), repeated=len(films) - len(first))
