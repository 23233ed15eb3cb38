"""The DICOM objects of a film's result, made once more as for sending, and held against the digests of what was sent.

What is sent is not kept. The same release makes the same bytes of the same film and score; where the bytes are others,
or an object cannot be made any more, the pack says so and has the digest of what was sent all the same.
"""

import hashlib
from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass
from datetime import tzinfo
from importlib.metadata import version
from io import BytesIO
from pathlib import Path
from typing import Any

from pydicom import dcmwrite
from pydicom.dataset import Dataset
from sqlalchemy import Connection, Engine, Row, select

from dicom_gateway.result import FilmResult
from dicom_gateway.spool import Spool
from model.errors import ModelError
from worker.db.session import reading
from worker.db.tables import deployment, sent_object
from worker.errors import Undelivered
from worker.evidence.layout import data_set_offset
from worker.evidence.replays import FindBundle
from worker.reporting.faults import NO_BUNDLE, in_words
from worker.reporting.film_result import DOCUMENTS, facts, film_of, film_result
from worker.reporting.objects import Make, Shown, maker
from worker.reporting.waiting import BundleName, WaitingResult

Pictures = Callable[[FilmResult, Path], Shown]


@dataclass(frozen=True, kw_only=True)
class SentObject:
    """An object that was sent to one or several destinations."""

    sop_instance_uid: str
    sop_class_uid: str
    sent: tuple[tuple[str, str], ...]
    """Destination, and SHA-256 of the data set that it was sent last."""
    part10: bytes = b""
    """The object made anew, as a DICOM file; empty where it cannot be made."""
    why_not: str = ""

    def as_dict(self, file: str) -> dict[str, Any]:
        """JSON-ready.

        Args:
            file: name of the DICOM file in the pack.
        """
        made: dict[str, Any] = {"file": None, "why_not": self.why_not}
        digest = ""
        if self.part10:
            offset = data_set_offset(self.part10)
            digest = hashlib.sha256(self.part10[offset:]).hexdigest()
            made = {"file": file, "data_set_offset": offset, "data_set_digest": digest}
        return {
            "sop_class_uid": self.sop_class_uid,
            "sop_instance_uid": self.sop_instance_uid,
            **made,
            "sent": [
                {"destination": destination, "data_set_digest": sent, "same_bytes": sent == digest if digest else None}
                for destination, sent in self.sent
            ],
        }


def sent_of(connection: Connection, instance_id: int) -> list[Row[Any]]:
    """Rows of the film's objects that were sent, by the order of sending."""
    of_film = select(sent_object).where(sent_object.c.instance_id == instance_id).order_by(sent_object.c.id)
    return list(connection.execute(of_film))


@dataclass(frozen=True, kw_only=True)
class ResultMaker:
    """Makes objects anew."""

    database: Engine
    spool: Spool
    pictures: Pictures
    find_bundle: FindBundle
    zone: tzinfo
    """The site's."""

    def objects(self, film: Row[Any], sent: list[Row[Any]]) -> list[SentObject]:
        """Every object of the film that was sent anywhere.

        Args:
            sent: of `sent_of`.
        """
        by_bundle: dict[str, list[Row[Any]]] = defaultdict(list)
        for row in sent:
            by_bundle[row.bundle_digest].append(row)
        found = []
        for digest, rows in by_bundle.items():
            shown = any(not row.sop_class_uid.startswith(DOCUMENTS) for row in rows)
            found += _objects(rows, *self._made(film, digest, shown))
        return found

    def _made(self, film: Row[Any], digest: str, shown: bool) -> tuple[dict[str, Dataset], str]:
        """Objects by SOP Instance UID, and why some of those that were sent are not among them.

        Args:
            shown: whether a picture was sent.
        """
        bundle = self._bundle(digest)
        if bundle is None:
            return {}, in_words(NO_BUNDLE)
        ours = version("xrayq")  # stands in the objects of a film that was not scored; a score names its own
        since = film.received_at
        of = WaitingResult(instance=film.id, bundle=bundle, software_version=ours, destination="", since=since)
        try:
            with reading(self.database) as connection:
                known = facts(connection, of)
            path = film_of(self.spool, known.film_digest)
            result = film_result(known, path, of, self.zone)
        except Undelivered as failure:
            return {}, in_words(str(failure))
        except ValueError:  # as in `rows.scores`
            return {}, "a row of its scores was altered, and cannot be read"
        make = maker(self.pictures)
        made, why_not = _tried(make, result, path, picture=shown)
        if why_not and shown:  # the report needs neither the picture nor the network
            made, _ = _tried(make, result, path, picture=False)
        return made, why_not

    def _bundle(self, digest: str) -> BundleName | None:
        """Its name, also where it was activated or a shadow once and is not here any more."""
        columns = select(deployment.c.name, deployment.c.version)
        with reading(self.database) as connection:
            row = connection.execute(columns.where(deployment.c.bundle_digest == digest)).one_or_none()
        if row:
            return BundleName(digest=digest, name=row.name, version=row.version)
        try:
            return BundleName.of(self.find_bundle(digest))
        except ModelError:
            return None


def _tried(make: Make, result: FilmResult, path: Path, *, picture: bool) -> tuple[dict[str, Dataset], str]:
    try:
        return {str(made.SOPInstanceUID): made for made in make(result, path, picture=picture)}, ""
    except Undelivered as failure:
        return {}, in_words(str(failure))
    except Exception as error:  # noqa: BLE001 - as in `worker.reporting.send`: the film's header may have any fault
        return {}, f"the objects cannot be made of this film ({type(error).__name__})"


def _objects(rows: list[Row[Any]], made: dict[str, Dataset], why_not: str) -> list[SentObject]:
    by_uid: dict[str, list[Row[Any]]] = defaultdict(list)
    for row in rows:
        by_uid[row.sop_instance_uid].append(row)
    return [
        SentObject(
            sop_instance_uid=uid,
            sop_class_uid=of_object[0].sop_class_uid,
            sent=tuple((row.destination, row.digest) for row in of_object),
            part10=_file(made[uid]) if uid in made else b"",
            why_not="" if uid in made else why_not or "this release makes no such object of the film",
        )
        for uid, of_object in by_uid.items()
    ]


def _file(made: Dataset) -> bytes:
    written = BytesIO()
    dcmwrite(written, made, enforce_file_format=True)
    return written.getvalue()
