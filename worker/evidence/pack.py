"""A pack: everything that the installation has of some films, one ZIP file, its manifest signed."""

import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from platform import python_version
from tempfile import mkstemp
from typing import Any, BinaryIO
from zoneinfo import ZoneInfo

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from sqlalchemy import Engine, select

from dicom_gateway.spool import Spool
from model.bundle import MANIFEST as BUNDLE_MANIFEST
from model.errors import ModelError
from model.json_value import plain
from model.notice import NOTICE
from worker.audit import score_check, trail
from worker.audit.score_check import LookedAt
from worker.bundles.replay import Opener, spooled
from worker.db.scores import of_instance
from worker.db.session import snapshot, time_of
from worker.db.tables import instance
from worker.errors import WorkerError
from worker.evidence import keys, layout, proof, readme, results, rows
from worker.evidence.films import Found
from worker.evidence.manifest import Manifest, ManifestBundle, ManifestFilm
from worker.evidence.replays import FindBundle, ReadFilm, replays
from worker.evidence.results import Pictures, ResultMaker
from worker.evidence.zip_file import ZipWriter

LIBRARIES = (
    "cryptography", "highdicom", "imagecodecs", "numpy", "onnxruntime", "opencv-python-headless", "pillow", "pydicom",
    "pynetdicom", "sqlalchemy",
)  # fmt: skip
"""That a score, an object or this pack goes through."""
CARD = "card.json"


@dataclass(frozen=True, kw_only=True)
class EvidenceSources:
    """What packs are made from."""

    database: Engine
    spool: Spool
    key: Ed25519PrivateKey
    find_bundle: FindBundle
    read_film: ReadFilm
    open_engine: Opener
    pictures: Pictures


@dataclass(frozen=True, kw_only=True)
class EvidenceOptions:
    """How; from the settings and the command."""

    zone: ZoneInfo
    """The site's, in which its days begin."""
    site: str
    settings: dict[str, Any]
    """Those in force, without secrets."""
    actor: str
    with_film: bool = False
    """Put the films in, too."""


@dataclass(frozen=True, kw_only=True)
class MadePack:
    """What was written."""

    films: int
    files: int
    fingerprint: str
    """Of the key that signed it."""
    wrong: tuple[LookedAt, ...]
    """Scores that are not as the audit trail tells: the pack has them as they are, and says so."""


def make(found: Found, out: Path, sources: EvidenceSources, options: EvidenceOptions) -> MadePack:
    """Write the pack of these films, readable by its owner alone: whole, or not at all.

    The database is read, never written. A film, a bundle or an object that is not there any more stops nothing: the
    pack says what is missing, and why.

    Raises WorkerError, OSError, SQLAlchemyError.
    """
    made_at = time_of(sources.database)
    chain = proof.of_chain(trail.verify(sources.database))
    public = sources.key.public_key()
    with _new(out) as file, ZipWriter(file) as pack:
        pack.add(layout.README, readme.text(found.films[0]).encode())
        pack.add(layout.PUBLIC_KEY, keys.pem_of(public))
        pack.add(layout.SETTINGS, layout.json_bytes({"as_of": plain(made_at), "settings": options.settings}))
        wrong: list[LookedAt] = []
        films = [_put_film(pack, film, sources, options, wrong) for film in found.films]
        bundles = sorted({digest for film in films for digest in film.bundles})
        manifest = Manifest(
            format=layout.FORMAT,
            notice=NOTICE,
            made_at=made_at.isoformat(timespec="seconds"),
            made_by=options.actor,
            site=options.site,
            asked_for=found.kind,
            versions=_versions(),
            key={"algorithm": "Ed25519", "fingerprint": keys.fingerprint(public)},
            audit_trail=chain,
            films=tuple(films),
            bundles=tuple(_put_bundle(pack, digest, sources.find_bundle) for digest in bundles),
            files=(),
        )
        content = layout.json_bytes(replace(manifest, files=tuple(pack.written)).as_dict())
        pack.add(layout.MANIFEST, content)
        pack.add(layout.SIGNATURE, sources.key.sign(content))
    return MadePack(films=len(films), files=len(pack.written), fingerprint=keys.fingerprint(public), wrong=tuple(wrong))


def _put_film(
    pack: ZipWriter, key: int, sources: EvidenceSources, options: EvidenceOptions, wrong: list[LookedAt]
) -> ManifestFilm:
    """`wrong`: is given its scores that are not as the audit trail tells."""
    folder = layout.folder_of(key)

    def put(file: str, value: Any) -> None:
        pack.add(f"{folder}/{file}", layout.json_bytes(value))

    with snapshot(sources.database) as connection:
        film = connection.execute(select(instance).where(instance.c.id == key)).one()
        about = rows.of_film(connection, film)
        of_film = proof.of_film(connection, key, options.zone)
        delivered = rows.deliveries(connection, key)
        stood = rows.alarms(connection, of_film.days, options.zone)
        sent = results.sent_of(connection, key)
        of_scores = score_check.wrong_of_film(connection, key)
        try:
            scores, views, unreadable = rows.scores(connection, key), of_instance(connection, key), ""
        except ValueError:
            scores, views, unreadable = [], [], "a row of its scores was altered, and cannot be read"
    path, missing = _spooled(sources.spool, film.digest)
    wrong += of_scores
    said = {"spool": missing or layout.AS_RECEIVED, "scores": unreadable or len(scores)}
    put(layout.FILM, about | said | {"wrong_scores": [one.words for one in of_scores]})
    for number, score in enumerate(scores, 1):
        pack.add(layout.score_name(key, number), score.text)
    pack.add(f"{folder}/{layout.TRAIL_ROWS}", of_film.lines)
    put(layout.TRAIL, of_film.ties.as_dict())
    put(layout.DELIVERIES, delivered)
    objects = []
    for number, made in enumerate(_results(sources, options).objects(film, sent), 1):
        file = layout.result_name(key, number)
        objects.append(made.as_dict(file))
        if made.part10:
            pack.add(file, made.part10)
    put(layout.RESULTS, objects)
    put(layout.REPLAY, replays(views, path or missing, sources.find_bundle, sources.read_film, sources.open_engine))
    put(layout.ALARMS, stood)
    if path and options.with_film:
        pack.add_file(f"{folder}/{layout.DICOM}", path)
    return ManifestFilm(
        instance=key,
        sop_instance_uid=film.sop_instance_uid,
        revision=film.revision,
        state=film.state,
        film_digest=film.digest,
        bundles=tuple(score.bundle for score in scores),
    )


def _results(sources: EvidenceSources, options: EvidenceOptions) -> ResultMaker:
    return ResultMaker(
        database=sources.database,
        spool=sources.spool,
        pictures=sources.pictures,
        find_bundle=sources.find_bundle,
        zone=options.zone,
    )


def _spooled(spool: Spool, digest: str) -> tuple[Path | None, str]:
    """The film's file, or why there is none."""
    try:
        return spooled(spool, digest), ""
    except WorkerError as error:
        return None, str(error)


def _put_bundle(pack: ZipWriter, digest: str, find_bundle: FindBundle) -> ManifestBundle:
    """The manifest, whose SHA-256 is the bundle's digest, and the model card where there is one."""
    try:
        bundle = find_bundle(digest)
    except ModelError as error:
        return ManifestBundle(digest=digest, why_not=str(error))
    for file in (BUNDLE_MANIFEST, CARD):
        if (bundle.path / file).is_file():
            pack.add_file(layout.bundle_name(digest, file), bundle.path / file)
    return ManifestBundle(digest=digest, title=bundle.name, version=bundle.version)


def _versions() -> dict[str, str | None]:
    found: dict[str, str | None] = {"xrayq": version("xrayq"), "python": python_version()}
    for library in LIBRARIES:
        try:
            found[library] = version(library)
        except PackageNotFoundError:
            found[library] = None
    return found


@contextmanager
def _new(out: Path) -> Iterator[BinaryIO]:
    """A file that takes its place when it is whole. Raises OSError."""
    descriptor, name = mkstemp(dir=out.parent, prefix=f"{out.name}.", suffix=".part")  # with mode 0600
    draft = Path(name)
    try:
        with os.fdopen(descriptor, "wb") as file:
            yield file
            file.flush()
            os.fsync(descriptor)
        draft.replace(out)
    except BaseException:
        with suppress(OSError):
            draft.unlink()
        raise
