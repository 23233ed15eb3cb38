"""The labelled films of a bundle with its logits: the table that `xrayq calibrate --labels` takes.

The database knows no patient, so films of one study stand for those of one patient, under a pseudonym. Four columns say
which X-ray device made a film, as far as its header was read, so that a device can be calibrated on its own films.
"""

import csv
from collections import defaultdict
from dataclasses import dataclass
from pathlib import Path

from sqlalchemy import Engine

from model.bundle import Bundle
from model.xray_devices import ATTRIBUTES, XrayDevice
from worker.db.pseudonyms import digest_key, keyed, plain_digest
from worker.db.scores import live_findings
from worker.db.session import snapshot
from worker.db.tables import finding_score, instance, score
from worker.monitoring.labels import truths

CHUNK = 500


@dataclass(frozen=True, kw_only=True)
class LabelledFilm:
    label: str
    study: str
    """Pseudonym of its study, keyed by the installation."""
    device: XrayDevice
    logits: dict[str, float]
    """By finding, in the bundle's order."""


def labelled_films(engine: Engine, bundle: Bundle, calling_ae: str = "") -> list[LabelledFilm]:
    """Films that the bundle scored live and whose readers agree, by instance id.

    Args:
        calling_ae: of this sender alone; "": of all.

    Raises:
        SQLAlchemyError: the database cannot be read.
    """
    key = digest_key(engine)
    with snapshot(engine) as connection:
        labels = {number: film.label for number, film in truths(connection).items() if film.label is not None}
        logits: dict[int, dict[str, float]] = defaultdict(dict)
        studies: dict[int, str] = {}
        devices: dict[int, XrayDevice] = {}
        numbers = sorted(labels)
        for at in range(0, len(numbers), CHUNK):
            about = (instance.c.id, instance.c.study_instance_uid, *(instance.c[name] for name in ATTRIBUTES))
            query = live_findings(*about, finding_score.c.finding, finding_score.c.logit).where(
                instance.c.id.in_(numbers[at : at + CHUNK]),
                score.c.bundle_digest == bundle.digest,
                finding_score.c.finding.in_(bundle.findings),
            )
            if calling_ae:
                query = query.where(instance.c.calling_ae == calling_ae)
            for number, study, *device, finding, logit in connection.execute(query):
                logits[number][finding] = logit
                studies[number] = keyed(key, plain_digest(study or f"instance {number}"))
                devices[number] = XrayDevice.of_row(dict(zip(ATTRIBUTES, device, strict=True)))
    return [
        LabelledFilm(
            label=labels[number],
            study=studies[number],
            device=devices[number],
            logits={name: logits[number][name] for name in bundle.findings},
        )
        for number in sorted(logits)
    ]


def write_table(path: Path, films: list[LabelledFilm], bundle: Bundle) -> None:
    """Raises OSError."""
    with path.open("w", newline="", encoding="utf-8") as handle:
        writer = csv.writer(handle, lineterminator="\n")
        logits = (f"logit_{name}" for name in bundle.findings)
        writer.writerow(["label", "patient_id", "bundle", *ATTRIBUTES, *logits])
        for film in films:
            device = (getattr(film.device, name) for name in ATTRIBUTES)
            written = (repr(value) for value in film.logits.values())
            writer.writerow([film.label, film.study, bundle.digest, *device, *written])
