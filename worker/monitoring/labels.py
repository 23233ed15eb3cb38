"""Truth: what readers say of films, imported from a CSV, so that live scores can be checked against it.

A row names a film by its SOP Instance UID, or every film of an accession number. Films may arrive after their labels.
A film's truth is the label that most of its readers gave; without a majority it has none.
"""

import csv
from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

from sqlalchemy import Connection, Engine, insert, select, update

from dicom_gateway.values import is_valid_uid
from model.digest import file_digest
from worker.audit import trail
from worker.audit.actions import Action
from worker.db.pseudonyms import accession_digest, digest_key, rekey
from worker.db.session import database_time, writing
from worker.db.tables import instance, truth
from worker.errors import LabelsRefused, NotFound

COLUMNS = ("sop_instance_uid", "accession_number", "label", "reader", "read_on")
LONGEST = {"accession_number": 64, "reader": 64}
"""Characters. Accession Number has 16 (SH, PS3.5 6.2), but real ones are longer."""
CHUNK = 500


@dataclass(frozen=True, kw_only=True)
class Label:
    sop_instance_uid: str
    """"" where the accession number names the film."""
    accession_digest: str
    """Keyed, of the accession number; "" where the UID names the film."""
    reader: str
    label: str
    read_on: date

    @property
    def key(self) -> tuple[str, str, str]:
        return self.sop_instance_uid, self.accession_digest, self.reader


@dataclass(frozen=True, kw_only=True)
class Imported:
    """What an import changed, in rows of the file."""

    rows: int
    """With a label."""
    new: int
    corrected: int
    """A later reading by the same reader."""
    unchanged: int
    older: int
    """Read before the reading that is kept already."""
    without_film: int
    """Rows whose film has not arrived."""
    not_read: int
    """Rows of a worklist that no reader has filled yet."""

    def as_dict(self) -> dict[str, int]:
        return asdict(self)


@dataclass(frozen=True, kw_only=True)
class LabelFile:
    """A file that has no fault."""

    labels: tuple[Label, ...]
    not_read: int
    """Rows that name a film and say nothing of it."""


def read_labels(path: Path, findings: tuple[str, ...], key: bytes) -> LabelFile:
    """Read and check a whole file.

    Args:
        path: CSV in UTF-8 with the columns label, reader, read_on (YYYY-MM-DD), and sop_instance_uid or
            accession_number or both, one of them filled in each row. A row may leave label, reader and read_on empty:
            a film of a worklist that nobody has read yet.
        findings: what a label may be.
        key: `pseudonyms.digest_key` of the database.

    Raises:
        NotFound: no such file. LabelsRefused: anything in it is wrong; it names every fault.
    """
    try:
        with path.open(encoding="utf-8-sig", newline="") as handle:
            reader = csv.DictReader(handle)
            columns = tuple(reader.fieldnames or ())
            rows = [(reader.line_num, row) for row in reader]
    except OSError as error:
        raise NotFound(f"{path}: {error.strerror}") from None
    except (UnicodeDecodeError, csv.Error):
        raise LabelsRefused(path, ["it is not a CSV in UTF-8"]) from None
    needed = {"label", "reader", "read_on"} - set(columns)
    if needed or not {"sop_instance_uid", "accession_number"} & set(columns):
        raise LabelsRefused(path, [f"it needs the columns {', '.join(COLUMNS)}, one of the first two may be missing"])
    labels: dict[tuple[str, str, str], Label] = {}
    faults: list[str] = []
    not_read = 0
    for line, row in rows:
        cells = {name: (row.get(name) or "").strip() for name in COLUMNS}
        label, fault = _label(cells, findings, key)
        if label is None and not fault:
            not_read += 1
            continue
        if label and label.key in labels:
            fault = "the same film and reader stand in a line before"
        if label is None or fault:
            faults.append(f"line {line}: {fault}")
        else:
            labels[label.key] = label
    if faults:
        raise LabelsRefused(path, faults)
    return LabelFile(labels=tuple(labels.values()), not_read=not_read)


def _label(row: dict[str, str], findings: tuple[str, ...], key: bytes) -> tuple[Label | None, str]:
    """The row, or what is wrong with it; neither where nobody has read the film."""
    if bool(row["sop_instance_uid"]) == bool(row["accession_number"]):
        return None, "fill sop_instance_uid or accession_number, and not both"
    if row["sop_instance_uid"] and not is_valid_uid(row["sop_instance_uid"]):
        return None, "sop_instance_uid is no UID"
    for name, longest in LONGEST.items():
        if len(row[name]) > longest or not row[name].isprintable():
            return None, f"{name} is longer than {longest} characters, or has some that cannot be printed"
    if not (row["label"] or row["reader"] or row["read_on"]):
        return None, ""
    if not row["reader"]:
        return None, "reader is empty"
    if row["label"] not in findings:
        return None, f"label is not one of {', '.join(findings)}"
    try:
        read_on = date.fromisoformat(row["read_on"])
    except ValueError:
        return None, "read_on is not a date, YYYY-MM-DD"
    if read_on > datetime.now(UTC).date():
        return None, "read_on lies in the future"
    label = Label(
        sop_instance_uid=row["sop_instance_uid"],
        accession_digest=accession_digest(key, row["accession_number"]),
        reader=row["reader"],
        label=row["label"],
        read_on=read_on,
    )
    return label, ""


def import_labels(engine: Engine, path: Path, findings: tuple[str, ...], actor: str) -> Imported:
    """Import a file, all or nothing. The same file again changes nothing.

    Films and labels that a release before left under a plain digest of the accession number are found too.

    Raises as `read_labels`.
    """
    read = read_labels(path, findings, digest_key(engine))
    labels = read.labels
    rekey(engine)
    digest = file_digest(path)
    with writing(engine, long=True) as connection:
        now = database_time(connection)
        known = _known(connection, labels)
        kinds = {label.key: _kind(label, known.get(label.key)) for label in labels}
        counts = Counter(kinds.values())
        new = [asdict(label) | {"imported_at": now} for label in labels if kinds[label.key] == "new"]
        if new:
            connection.execute(insert(truth), new)
        for label in labels:
            if kinds[label.key] == "corrected":
                connection.execute(
                    update(truth)
                    .where(truth.c.id == known[label.key].id)
                    .values(label=label.label, read_on=label.read_on, imported_at=now)
                )
        if counts["new"] or counts["corrected"]:
            trail.record(
                connection,
                action=Action.LABELS_IMPORTED,
                instance_id=None,
                actor=actor,
                detail={"digest": digest, "new": counts["new"], "corrected": counts["corrected"]},
            )
        return Imported(
            rows=len(labels),
            **{kind: counts[kind] for kind in ("new", "corrected", "unchanged", "older")},
            without_film=_without_film(connection, labels),
            not_read=read.not_read,
        )


@dataclass(frozen=True, kw_only=True)
class Truth:
    """The truth of a film."""

    label: str | None
    """None where its readers do not agree."""


def truths(connection: Connection) -> dict[int, Truth]:
    """The truth of each labelled instance, by its id.

    Of several revisions under a UID, the newest one: a film whose Accession Number was corrected is not of the order
    that it was sent under before. Of a reader who named a film twice, the last reading.
    """
    later = instance.alias()
    of_film = (later.c.sop_instance_uid == instance.c.sop_instance_uid) & (later.c.revision > instance.c.revision)
    of_film &= later.c.is_film & later.c.admitted  # what is no film, or an unknown peer's, replaces none
    by_uid = truth.c.sop_instance_uid == instance.c.sop_instance_uid
    by_accession = (truth.c.accession_digest == instance.c.accession_digest) & (truth.c.accession_digest != "")
    by_accession &= ~select(later.c.id).where(of_film).correlate(instance).exists()
    newest: dict[str, tuple[int, int]] = {}
    readings: dict[str, dict[str, tuple[date, str]]] = defaultdict(dict)
    for how in (by_uid, by_accession):  # two joins that each have an index, instead of one with OR that has none
        reading = (truth.c.label, truth.c.reader, truth.c.read_on)
        query = select(instance.c.id, instance.c.sop_instance_uid, instance.c.revision, *reading).select_from(instance)
        rows = connection.execute(
            query.join(truth, how).where(instance.c.is_film, instance.c.admitted).order_by(truth.c.id)
        )
        for row in rows:
            uid = row.sop_instance_uid
            newest[uid] = max(newest.get(uid, (0, 0)), (row.revision, row.id))
            before = readings[uid].get(row.reader)
            if before is None or before[0] < row.read_on:  # on the same day, what names the film itself
                readings[uid][row.reader] = row.read_on, row.label
    return {
        newest[uid][1]: Truth(label=_majority([label for _, label in by_reader.values()]))
        for uid, by_reader in readings.items()
    }


def _majority(labels: list[str]) -> str | None:
    ((label, count),) = Counter(labels).most_common(1)
    return label if 2 * count > len(labels) else None


def _kind(label: Label, known: Any) -> str:
    """What a row does to the reading that is kept, by the names in `Imported`."""
    if known is None:
        return "new"
    if (label.label, label.read_on) == (known.label, known.read_on):
        return "unchanged"
    return "older" if label.read_on < known.read_on else "corrected"


def _known(connection: Connection, labels: Sequence[Label]) -> dict[tuple[str, str, str], Any]:
    known = {}
    for column in ("sop_instance_uid", "accession_digest"):
        for chunk in _chunks(sorted({getattr(label, column) for label in labels} - {""})):
            for row in connection.execute(select(truth).where(truth.c[column].in_(chunk))):
                known[row.sop_instance_uid, row.accession_digest, row.reader] = row
    return known


def _without_film(connection: Connection, labels: Sequence[Label]) -> int:
    arrived: dict[str, set[str]] = {}
    for column in ("sop_instance_uid", "accession_digest"):
        wanted = sorted({getattr(label, column) for label in labels} - {""})
        came = select(instance.c[column]).where(instance.c.is_film)
        arrived[column] = {
            name
            for chunk in _chunks(wanted)
            for name in connection.execute(came.where(instance.c[column].in_(chunk))).scalars()
        }
    return sum(
        label.sop_instance_uid not in arrived["sop_instance_uid"]
        and label.accession_digest not in arrived["accession_digest"]
        for label in labels
    )


def _chunks(names: list[str]) -> list[list[str]]:
    return [names[at : at + CHUNK] for at in range(0, len(names), CHUNK)]
