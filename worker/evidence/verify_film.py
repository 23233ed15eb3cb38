"""One film of a pack: do its events, its scores and what was sent say the same?"""

import hashlib
import json
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from worker.audit.actions import Action
from worker.audit.score_check import GOOD, TELL, Found, found_of, told_by
from worker.audit.score_digests import StoredScore
from worker.evidence import layout
from worker.evidence.manifest import ManifestFilm, RowTies, TrailTies
from worker.evidence.opened import OpenedPack

NO_ROW = "0" * 64
"""What the chain's first row holds as the digest before it."""
ARRIVALS = (Action.RECEIVED, Action.REVISION)


@dataclass(kw_only=True)
class FilmCheck:
    """What was found of a film, each a sentence."""

    faults: list[str] = field(default_factory=list)
    remarks: list[str] = field(default_factory=list)


@dataclass(frozen=True, kw_only=True)
class _Film:
    pack: OpenedPack
    about: ManifestFilm
    check: FilmCheck
    events: list[dict[str, Any]] = field(default_factory=list)
    """Contents of its rows in the audit trail."""

    def named(self, file: str) -> str:
        return f"{layout.folder_of(self.about.instance)}/{file}"

    def fault(self, words: str) -> None:
        self.check.faults.append(f"film {self.about.instance}: {words}")

    def remark(self, words: str) -> None:
        self.check.remarks.append(f"film {self.about.instance}: {words}")


def check_film(pack: OpenedPack, about: ManifestFilm) -> FilmCheck:
    film = _Film(pack=pack, about=about, check=FilmCheck())
    parts: dict[str, Callable[[_Film], None]] = {
        layout.TRAIL_ROWS: _trail,
        "score-*.json": _scores,
        layout.RESULTS: _results,
        layout.REPLAY: _replays,
        layout.FILM: _spool,
    }
    for file, look in parts.items():
        try:
            look(film)
        except (ValueError, TypeError, KeyError, AttributeError, RecursionError):  # it is not what we write
            film.fault(f"{file} is missing, or cannot be read")
    dicom = film.named(layout.DICOM)
    if dicom in pack.entries and pack.digests[dicom] != about.film_digest:
        film.fault(f"{layout.DICOM} is not the film that was received")
    return film.check


def _trail(film: _Film) -> None:
    """Each row's content against its digest, and each row against those beside it."""
    ties = TrailTies.read(film.pack.json(film.named(layout.TRAIL))).rows
    lines = film.pack.content(film.named(layout.TRAIL_ROWS)).splitlines()
    if len(lines) != len(ties):
        film.fault(f"{layout.TRAIL_ROWS} has {len(lines)} rows of the audit trail, {layout.TRAIL} {len(ties)}")
    before: RowTies | None = None
    for line, row in zip(lines, ties, strict=False):
        if hashlib.sha256(line).hexdigest() != row.digest:
            film.fault(f"row {row.id} of the audit trail was altered: its digest is of other content")
        event = _event(line)
        if event is None:
            film.fault(f"row {row.id} of the audit trail cannot be read")
            continue
        film.events.append(event)
        if event.get("instance_id") != film.about.instance:
            film.fault(f"row {row.id} of the audit trail is not of this film")
        if event.get("previous") != (row.before.digest if row.before else NO_ROW):
            film.fault(f"row {row.id} of the audit trail does not follow the row before it: one was altered or removed")
        if before and not _follows(before, row):
            film.fault(f"rows {before.id} and {row.id} of the audit trail are not in their places")
        before = row
    if not any(event.get("action") in ARRIVALS for event in film.events):
        film.fault("the audit trail has no arrival of it: rows were removed")


def _event(line: bytes) -> dict[str, Any] | None:
    try:
        event = json.loads(line)
    except (ValueError, RecursionError):
        return None
    return event if isinstance(event, dict) and isinstance(event.get("detail"), dict) else None


def _follows(first: RowTies, second: RowTies) -> bool:
    """Whether two rows of a film can stand so: side by side, or with others between them."""
    after, before = first.after, second.before
    if after is None or before is None or not first.id < after.id <= second.id:
        return False
    beside = after.id == second.id
    if beside != (before.id == first.id):
        return False
    return not beside or (after.digest, before.digest) == (second.digest, first.digest)


def _scores(film: _Film) -> None:
    """As `worker.audit.score_check` does it in the database."""
    key = film.about.instance
    told = told_by((key, event["action"], event["detail"]) for event in film.events if event.get("action") in TELL).get(
        key, {}
    )
    kept: dict[str, StoredScore] = {}
    for name in film.pack.named(film.named("score-")):
        said = film.pack.json(name)
        bundle, role = said["bundle_digest"], said["role"]
        kept[bundle] = StoredScore(instance_id=key, bundle=bundle, role=role, digest=film.pack.digests[name])
    for bundle in sorted({*kept, *(bundle for bundle, one in told.items() if one.digest)}):
        found = found_of(told, bundle, kept.get(bundle))
        if found not in GOOD:
            film.fault(f"the score by bundle {bundle[:12]} {found}")
        elif found is Found.BEFORE:
            film.remark(f"the score by bundle {bundle[:12]} {found}: it cannot be checked")


def _results(film: _Film) -> None:
    """Each object's bytes against what was sent, and that against the events of sending."""
    sendings: dict[str, list[str]] = {}
    for event in film.events:
        if event.get("action") == Action.RESULT_SENT:
            detail = event["detail"]
            sendings.setdefault(detail["destination"], []).extend(detail.get("digests", ()))
    for made in film.pack.json(film.named(layout.RESULTS)):
        uid = made["sop_instance_uid"]
        digest = film.pack.data_set_digest(made["file"]) if made["file"] else None
        if digest is None:
            film.remark(f"object {uid}, which was sent, is not in the pack: {made['why_not']}")
        elif digest != made["data_set_digest"]:
            film.fault(f"object {uid} was altered: {layout.RESULTS} has another digest of it")
        for sent in made["sent"]:
            destination, of_sent = sent["destination"], sent["data_set_digest"]
            if of_sent not in sendings.get(destination, ()):
                film.fault(f"the audit trail tells of no object {uid} to {destination} with the digest in the pack")
            elif digest and digest != of_sent:
                film.remark(
                    f"object {uid} was made anew and has other bytes than were sent to {destination}: sent "
                    f"{of_sent[:12]}, made {digest[:12]}"
                )


def _replays(film: _Film) -> None:
    for again in film.pack.json(film.named(layout.REPLAY)):
        which = f"the score by bundle {again['bundle_digest'][:12]}"
        if again["agrees"] is None:
            film.remark(f"{which} was not computed again: {again['why_not']}")
        elif not again["agrees"]:
            film.remark(f"{which} came out differently when it was computed again")


def _spool(film: _Film) -> None:
    about = film.pack.json(film.named(layout.FILM))
    if about["row"]["digest"] != film.about.film_digest:
        film.fault(f"{layout.FILM} and {layout.MANIFEST} have different digests of the film")
    if about["spool"] != layout.AS_RECEIVED:
        film.remark(str(about["spool"]))
