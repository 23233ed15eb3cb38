"""Is a pack whole, and whose is it? Read from the file alone: no database, no settings, nothing is unpacked."""

from collections import Counter
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from model.json_value import plain
from worker.errors import NotFound, WorkerError
from worker.evidence import exported, keys, layout, zip_file
from worker.evidence.manifest import Manifest, TrailTies
from worker.evidence.opened import OpenedPack
from worker.evidence.verify_film import check_film

MOST_FAULTS = 100


@dataclass(frozen=True, kw_only=True)
class PackCheck:
    """What verifying found."""

    faults: tuple[str, ...]
    """What is not whole, each a sentence; the first MOST_FAULTS."""
    remarks: tuple[str, ...] = ()
    """What a whole pack itself says is missing, or was not in order when it was made."""
    manifest: Manifest | None = None
    """As far as it can be read, signed or not."""
    fingerprint: str = ""
    """Of the key that signed it; "" where none did."""
    origin: bool = False
    """Whether that is the key which was given as the hospital's."""
    trail: bool = False
    """Whether its rows were held against the hospital's whole audit trail."""

    @property
    def whole(self) -> bool:
        return not self.faults

    def as_dict(self) -> dict[str, Any]:
        """JSON-ready. What the manifest says is there for a whole pack alone."""
        said = self.manifest if self.whole else None
        return {
            "whole": self.whole,
            "origin_checked": self.origin,
            "trail_checked": self.trail,
            "fingerprint": self.fingerprint,
            "faults": list(self.faults),
            "remarks": list(self.remarks),
            "made_at": said.made_at if said else None,
            "made_by": said.made_by if said else None,
            "site": said.site if said else None,
            "films": plain(said.films) if said else None,
        }


def verify(path: Path, hospital: Ed25519PublicKey | None = None, export: Path | None = None) -> PackCheck:
    """
    Args:
        hospital: the key that must have signed it; None: any may have.
        export: the hospital's audit trail, of `xrayq audit export`, to hold the pack's rows against.

    Raises NotFound, WorkerError where the file cannot be read.
    """
    try:
        with path.open("rb") as file:
            return _verified(file, hospital, export)
    except (FileNotFoundError, IsADirectoryError) as error:
        raise NotFound(f"no such file: {error.filename or path}") from None
    except OSError as error:
        raise WorkerError(f"{error.filename or path} cannot be read: {error.strerror}") from None


def _verified(file: BinaryIO, hospital: Ed25519PublicKey | None, export: Path | None) -> PackCheck:
    found = zip_file.read(file)
    faults = list(found.faults)
    if not found.entries:
        return _check(faults or ["it is no evidence pack: the ZIP file is empty"])
    times = Counter(entry.name for entry in found.entries)
    faults += [f"{name} stands in the ZIP file {count} times" for name, count in times.items() if count > 1]
    pack = OpenedPack(file, found.entries)
    if layout.MANIFEST not in pack.entries:
        return _check([*faults, f"it is no evidence pack: it has no {layout.MANIFEST}"])
    signed_by, of_signature = _signature(pack, hospital)
    faults += of_signature
    by = {"fingerprint": keys.fingerprint(signed_by) if signed_by else "", "origin": bool(signed_by and hospital)}
    try:
        manifest = Manifest.read(pack.json(layout.MANIFEST))
    except ValueError:
        return _check([*faults, f"{layout.MANIFEST} cannot be read: it was altered"], **by)
    if manifest.format != layout.FORMAT:
        return _check([*faults, f"{layout.MANIFEST} is of another format, which this release does not know"], **by)
    if signed_by and manifest.key.get("fingerprint") != by["fingerprint"]:
        faults.append(f"{layout.MANIFEST} names another key than the one that signed it: the pack was signed anew")
    faults += _files(pack, manifest)
    faults += [f"{name} was altered: the ZIP file's check sum is of another content" for name in pack.crc_differs]
    remarks = _of_chain(manifest)
    for film in manifest.films:
        of_film = check_film(pack, film)
        faults += of_film.faults
        remarks += of_film.remarks
    for bundle in manifest.bundles:
        if bundle.why_not:
            remarks.append(f"the pack has no manifest of bundle {bundle.digest[:12]}: {bundle.why_not}")
        elif pack.digests.get(layout.bundle_name(bundle.digest, layout.MANIFEST)) != bundle.digest:
            faults.append(f"the manifest of bundle {bundle.digest[:12]} has another digest than the bundle")
    if export:
        faults += exported.faults(export, manifest, _ties(pack, manifest))
    return _check(faults, remarks=tuple(remarks), manifest=manifest, trail=export is not None, **by)


def _check(faults: list[str], **found: Any) -> PackCheck:
    """Each fault once, and not so many that nobody reads them."""
    every = list(dict.fromkeys(faults))
    more = [f"and {len(every) - MOST_FAULTS:,} more"] if len(every) > MOST_FAULTS else []
    return PackCheck(faults=(*every[:MOST_FAULTS], *more), **found)


def _signature(pack: OpenedPack, hospital: Ed25519PublicKey | None) -> tuple[Ed25519PublicKey | None, list[str]]:
    """The key that signed the manifest, and what is wrong with that."""
    try:
        own = keys.read_public(pack.content(layout.PUBLIC_KEY))
        signature = pack.content(layout.SIGNATURE)
        manifest = pack.content(layout.MANIFEST)
    except ValueError as missing:
        return None, [f"{missing} is missing, or too large: nobody can tell who signed the pack"]
    if own is None:
        faults = [f"{layout.PUBLIC_KEY} holds no Ed25519 key"]
    elif hospital and keys.fingerprint(own) != keys.fingerprint(hospital):
        faults = [
            f"it was signed with another key than the one given: the pack's has the fingerprint "
            f"{keys.fingerprint(own)}, the one given {keys.fingerprint(hospital)}"
        ]
    else:
        faults = []
    key = hospital or own
    if key is None or keys.is_signed(key, signature, manifest):
        return (None if faults else key), faults
    if not faults:
        faults = [f"{layout.MANIFEST} or {layout.SIGNATURE} was altered: the signature is of other content"]
    return None, faults


def _files(pack: OpenedPack, manifest: Manifest) -> list[str]:
    listed = {file.name: file for file in manifest.files}
    faults = [
        f"{zip_file.shown(name)} is missing, and {layout.MANIFEST} lists it"
        for name in listed
        if name not in pack.entries
    ]
    for name, entry in pack.entries.items():
        if name in layout.UNSIGNED:
            continue
        if name not in listed:
            faults.append(f"{name} does not belong to the pack: {layout.MANIFEST} does not list it")
        elif (pack.digests[name], entry.size) != (listed[name].sha256, listed[name].size):
            faults.append(f"{name} was altered: {layout.MANIFEST} has another SHA-256 of it")
    return faults


def _ties(pack: OpenedPack, manifest: Manifest) -> dict[int, TrailTies]:
    """By instance id; where they cannot be read `check_film` has said so."""
    found = {}
    for film in manifest.films:
        with suppress(ValueError):
            name = f"{layout.folder_of(film.instance)}/{layout.TRAIL}"
            found[film.instance] = TrailTies.read(pack.json(name))
    return found


def _of_chain(manifest: Manifest) -> list[str]:
    found, remarks = manifest.audit_trail, []
    if not found.whole:
        place = f" at row {found.broken_row}" if found.broken_row is not None else ""
        remarks.append(f"when the pack was made, the hospital's audit trail was not whole{place}")
    if found.scores_wrong:
        remarks.append(
            f"when the pack was made, {found.scores_wrong:,} of the hospital's scores were not as its trail tells"
        )
    return remarks
