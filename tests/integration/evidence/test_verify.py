"""`xrayq evidence verify`: on another machine, of what was altered, what somebody else signed, and what is no pack."""

import hashlib
import json
import os
import subprocess
import sys
import zipfile
from collections.abc import Callable
from dataclasses import replace
from io import BytesIO
from pathlib import Path
from zipfile import ZipFile

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from model.json_value import plain
from tests.integration.evidence.hospital import Hospital
from tests.services import typed
from worker.evidence import keys, layout, zip_file
from worker.evidence.manifest import Manifest
from worker.evidence.verify import verify
from worker.evidence.zip_file import Entry, ZipWriter

ROOT = Path(__file__).parents[3]


@pytest.fixture(scope="module")
def small(studied: Hospital) -> Path:
    """Of one film that was not scored: 30 kB."""
    return studied.pack("4", studied.home / "small.zip", "--by", "instance")


@pytest.fixture
def public(studied: Hospital) -> Path:
    return studied.home / keys.PUBLIC


def entries(pack: Path) -> list[Entry]:
    with pack.open("rb") as file:
        return list(zip_file.read(file).entries)


def with_byte(pack: Path, place: int, target: Path) -> Path:
    """A copy, the lowest bit of one byte turned."""
    content = bytearray(pack.read_bytes())
    content[place] ^= 1
    target.write_bytes(content)
    return target


def written(contents: dict[str, bytes], target: Path) -> Path:
    with target.open("wb") as file, ZipWriter(file) as pack:
        for name, content in contents.items():
            pack.add(name, content)
    return target


def forged(pack: Path, target: Path, **changed: bytes | None) -> Path:
    """As somebody with a key of their own would alter a pack: manifest and signature fit the altered files.

    Args:
        changed: new content by name; None takes the file out.
    """
    with ZipFile(pack) as opened:
        contents = {name: opened.read(name) for name in opened.namelist()}
    for name, content in changed.items():
        if content is None:
            del contents[name]
        else:
            contents[name] = content
    key = Ed25519PrivateKey.generate()
    manifest = Manifest.read(json.loads(contents.pop(layout.MANIFEST)))
    del contents[layout.SIGNATURE]
    contents[layout.PUBLIC_KEY] = keys.pem_of(key.public_key())
    files = tuple(
        zip_file.Written(name=name, sha256=hashlib.sha256(content).hexdigest(), size=len(content))
        for name, content in contents.items()
    )
    own = manifest.key | {"fingerprint": keys.fingerprint(key.public_key())}
    text = layout.json_bytes(replace(manifest, files=files, key=own).as_dict())
    return written(contents | {layout.MANIFEST: text, layout.SIGNATURE: key.sign(text)}, target)


def content(pack: Path, name: str) -> bytes:
    with ZipFile(pack) as opened:
        return opened.read(name)


def test_on_another_machine(pack: Path, public: Path, tmp_path: Path) -> None:
    """A process with a home folder that is empty, and neither settings nor a database."""
    home = tmp_path / "home"
    home.mkdir()
    python_path = os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")])
    done = subprocess.run(
        [sys.executable, "-m", "worker.cli", "evidence", "verify", str(pack), "--key", str(public)],
        env={"HOME": str(home), "PATH": os.defpath, "PYTHONPATH": python_path},
        cwd=home,
        capture_output=True,
        text=True,
        timeout=180,
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert f"is whole: 3 films, {len(entries(pack))} files" in done.stdout
    assert "signed with the key that you gave" in done.stdout
    assert "it says" not in done.stdout
    assert list(home.iterdir()) == []


def test_one_byte_of_each_entry(pack: Path, tmp_path: Path) -> None:
    assert len(entries(pack)) > 25
    for entry in entries(pack):
        check = verify(with_byte(pack, entry.offset + entry.size // 2, tmp_path / "altered.zip"))
        assert any(entry.name in fault for fault in check.faults), (entry.name, check.faults)


def test_one_byte_anywhere(small: Path, tmp_path: Path) -> None:
    """Here of every 97th; the ZIP file's own bytes one by one in `tests/unit/worker/evidence/test_zip_file.py`."""
    for place in range(0, small.stat().st_size, 97):
        check = verify(with_byte(small, place, tmp_path / "altered.zip"))
        assert check.faults, place


def test_an_event_that_was_altered_is_named_by_its_row(pack: Path, tmp_path: Path) -> None:
    """Of a pack whose manifest and signature were made anew."""
    rows = json.loads(content(pack, "film-1/trail.json"))["rows"]
    lines = content(pack, "film-1/trail.jsonl").splitlines(keepends=True)
    lines[1] = lines[1].replace(b'"actor":"worker"', b'"actor":"nobody"')
    check = verify(forged(pack, tmp_path / "forged.zip", **{"film-1/trail.jsonl": b"".join(lines)}))
    assert check.faults == (
        f"film 1: row {rows[1]['id']} of the audit trail was altered: its digest is of other content",
    )


def in_other_order(pack: Path) -> dict[str, bytes | None]:
    ties = json.loads(content(pack, "film-1/trail.json"))
    lines = content(pack, "film-1/trail.jsonl").splitlines(keepends=True)
    ties["rows"][1:3], lines[1:3] = ties["rows"][2:0:-1], lines[2:0:-1]
    return {"film-1/trail.json": layout.json_bytes(ties), "film-1/trail.jsonl": b"".join(lines)}


def without_row(pack: Path, place: int) -> dict[str, bytes | None]:
    ties = json.loads(content(pack, "film-1/trail.json"))
    lines = content(pack, "film-1/trail.jsonl").splitlines(keepends=True)
    del ties["rows"][place], lines[place]
    return {"film-1/trail.json": layout.json_bytes(ties), "film-1/trail.jsonl": b"".join(lines)}


def with_other_logit(pack: Path) -> dict[str, bytes | None]:
    name = "film-1/score-1.json"
    said = json.loads(content(pack, name))
    said["findings"]["covid19"]["logit"] += 1
    return {name: json.dumps(said, sort_keys=True, separators=(",", ":")).encode()}


def with_other_object(pack: Path) -> dict[str, bytes | None]:
    """Its digest in results.json, too: what is left is the event of the sending."""
    objects = json.loads(content(pack, "film-1/results.json"))
    objects[0]["sent"][0]["data_set_digest"] = "f" * 64
    return {"film-1/results.json": layout.json_bytes(objects)}


ALTERED: dict[str, tuple[Callable[[Path], dict[str, bytes | None]], str]] = {
    "rows in another order": (in_other_order, "are not in their places"),
    "arrival left out": (lambda pack: without_row(pack, 0), "film 1: the audit trail has no arrival of it"),
    "score": (with_other_logit, "film 1: the score by bundle"),
    "score left out": (lambda _: {"film-1/score-1.json": None}, "is gone"),
    "what was sent": (with_other_object, "film 1: the audit trail tells of no object"),
    "object": (
        lambda pack: {"film-4/result-1.dcm": content(pack, "film-4/result-1.dcm")[:-1] + b"\1"},
        "film 4: object",
    ),
    "film": (lambda pack: {"film-3/film.dcm": content(pack, "film-1/film.dcm")}, "film 3: film.dcm is not the film"),
    "events of another film": (
        lambda pack: {
            name: content(pack, name.replace("3", "1")) for name in ("film-3/trail.json", "film-3/trail.jsonl")
        },
        "is not of this film",
    ),
    "part left out": (lambda _: {"film-1/replay.json": None}, "film 1: replay.json is missing, or cannot be read"),
    "no JSON": (lambda _: {"film-1/film.json": b"[" * 100_000}, "film 1: film.json is missing, or cannot be read"),
    "JSON of another shape": (lambda _: {"film-1/results.json": b'[{"sent":7}]'}, "film 1: results.json is missing"),
    "lines that are no events": (lambda _: {"film-1/trail.jsonl": b"\xff\n[]\n"}, "of the audit trail cannot be read"),
}


@pytest.mark.parametrize("name", ALTERED)
def test_what_was_altered_and_signed_anew(name: str, pack: Path, public: Path, tmp_path: Path) -> None:
    alter, words = ALTERED[name]
    altered = forged(pack, tmp_path / "forged.zip", **alter(pack))
    assert any(words in fault for fault in verify(altered).faults), verify(altered).faults
    check = verify(altered, keys.public_key(public))
    assert any("it was signed with another key than the one given" in fault for fault in check.faults)


def test_a_forger_is_told_from_the_hospital_by_the_key_alone(pack: Path, public: Path, tmp_path: Path) -> None:
    forgery = forged(pack, tmp_path / "forged.zip", **{"settings.json": b"{}\n"})
    done = typed("evidence", "verify", str(forgery))
    assert (done.returncode, done.stderr) == (0, "")
    assert "WHO MADE IT WAS NOT CHECKED" in done.stdout
    done = typed("evidence", "verify", str(forgery), "--key", str(public))
    assert (done.returncode, done.stdout.count("\n"), done.stderr) == (1, 1, "")
    assert "it was signed with another key than the one given: the pack's has the fingerprint" in done.stdout
    found = json.loads(typed("evidence", "verify", str(forgery), "--key", str(public), "--json").stdout)
    assert (found["whole"], found["origin_checked"], found["films"]) == (False, False, None)
    found = json.loads(typed("evidence", "verify", str(pack), "--key", str(public), "--json").stdout)
    assert (found["whole"], found["origin_checked"], len(found["films"])) == (True, True, 3)


# beside the hospital's audit trail


@pytest.fixture
def trail(studied: Hospital, tmp_path: Path) -> Path:
    done = studied.xrayq("audit", "export", "--out", str(tmp_path / "trail.jsonl"))
    assert done.returncode == 0, done.stderr
    return tmp_path / "trail.jsonl"


def test_beside_the_audit_trail(pack: Path, public: Path, trail: Path) -> None:
    done = typed("evidence", "verify", str(pack), "--key", str(public), "--trail", str(trail))
    assert (done.returncode, done.stderr) == (0, "")
    assert "its events stand in the audit trail that you gave, which is whole, and none is left out" in done.stdout


def test_a_row_that_was_left_out_is_found_beside_the_audit_trail(pack: Path, trail: Path, tmp_path: Path) -> None:
    """The pack alone cannot tell: its neighbour looks like another film's."""
    rows = json.loads(content(pack, "film-1/trail.json"))["rows"]
    forgery = forged(pack, tmp_path / "forged.zip", **without_row(pack, len(rows) - 1))
    assert verify(forgery).whole
    left_out = f"film 1: the pack lacks row {rows[-1]['id']} of the exported audit trail"
    assert verify(forgery, export=trail).faults == (left_out,)


@pytest.mark.parametrize(
    ("alter", "words"),
    [
        (lambda text: text.replace('"worker"', '"nobody"', 1), "the exported audit trail is not whole at row"),
        (lambda text: text.partition("\n")[2], "the exported audit trail is not whole at row 2"),
        (lambda text: text.rpartition('{"id"')[0], "the exported audit trail has not the head that the pack names"),
        (lambda _: "", "the exported audit trail has no row 2, which the pack names"),
        (lambda text: text[:-10], "the exported audit trail cannot be read"),
        (lambda _: "[" * 100_000, "the exported audit trail cannot be read"),
    ],
)
def test_an_audit_trail_that_is_not_the_packs(alter: Callable[[str], str], words: str, pack: Path, trail: Path) -> None:
    trail.write_text(alter(trail.read_text()))
    assert any(words in fault for fault in verify(pack, export=trail).faults), verify(pack, export=trail).faults


# what is no pack, or no longer


def zipped(small: Path, *, compression: int = zipfile.ZIP_STORED, comment: bytes = b"", **more: bytes) -> bytes:
    """The pack's files as another program zips them."""
    made = BytesIO()
    with ZipFile(made, "w", compression) as target:
        for entry in entries(small):
            target.writestr(entry.name, content(small, entry.name))
        for name, added in more.items():
            target.writestr(name, added)
        target.comment = comment
    return made.getvalue()


def listed(small: Path, *left_out: str, **added: bytes) -> bytes:
    """The pack with entries that its manifest does not know of, or without some; `added` may have a name twice."""
    made = BytesIO()
    with ZipWriter(made) as target:
        for entry in entries(small):
            if entry.name not in left_out:
                target.add(entry.name, content(small, entry.name))
        for name, extra in added.items():
            target.add(name, extra)
    return made.getvalue()


def bomb() -> bytes:
    made = BytesIO()
    with ZipFile(made, "w", zipfile.ZIP_DEFLATED) as target:
        target.writestr(layout.MANIFEST, b"0" * (20 << 20))
    return made.getvalue()


BAD: dict[str, tuple[Callable[[Path], bytes], str]] = {
    "empty": (lambda _: b"", "it is no ZIP file"),
    "text": (lambda _: b"a letter to the court\n" * 100, "it is no ZIP file"),
    "an empty ZIP": (lambda _: zipped_nothing(), "it is no evidence pack: the ZIP file is empty"),
    "another ZIP": (lambda _: another_zip(), "it is no evidence pack: it has no manifest.json"),
    "cut in half": (lambda small: small.read_bytes()[: small.stat().st_size // 2], "the ZIP file has no whole end"),
    "cut by a byte": (lambda small: small.read_bytes()[:-1], "the ZIP file has no whole end"),
    "longer by a byte": (lambda small: small.read_bytes() + b"\n", "the ZIP file has no whole end"),
    "before it": (lambda small: b"#!/bin/sh\n" + small.read_bytes(), "the ZIP file has no whole end"),
    "comment": (lambda small: zipped(small, comment=b"seen by the court"), "the ZIP file has no whole end"),
    "zipped by another program": (zipped, "another program wrote the ZIP file anew, or"),
    "signed anew": (lambda small: signed_anew(small), "manifest.json names another key than the one that signed it"),
    "compressed": (
        lambda small: zipped(small, compression=zipfile.ZIP_DEFLATED),
        "has a compressed entry, 'README.txt'",
    ),
    "bomb": (lambda _: bomb(), "has a compressed entry, 'manifest.json'"),
    "extra": (lambda small: listed(small, **{"film-4/note.txt": b""}), "film-4/note.txt does not belong to the pack"),
    "twice": (lambda small: listed(small, **{"settings.json": b"{}"}), "settings.json stands in the ZIP file 2 times"),
    "missing": (lambda small: listed(small, "film-4/alarms.json"), "'film-4/alarms.json' is missing"),
    "without signature": (lambda small: listed(small, "manifest.sig"), "manifest.sig is missing"),
    "without key": (lambda small: listed(small, "public.pem"), "public.pem is missing"),
    "path out": (lambda small: zipped(small, **{"../../etc/passwd": b""}), "name that no pack has: '../../etc/passwd'"),
    "whole path": (lambda small: listed_raw(small, "/etc/passwd"), "name that no pack has: '/etc/passwd'"),
    "terminal": (lambda small: listed_raw(small, "\x1b[2Jwhole"), "name that no pack has: '\\x1b[2Jwhole'"),
    "no JSON": (lambda small: other_manifest(small, b"no JSON"), "manifest.json cannot be read"),
    "deep JSON": (lambda small: other_manifest(small, b"[" * 200_000), "manifest.json cannot be read"),
    "other JSON": (lambda small: other_manifest(small, b'{"films": 7}'), "manifest.json cannot be read"),
    "another format": (lambda small: other_format(small), "manifest.json is of another format"),
}


def zipped_nothing() -> bytes:
    made = BytesIO()
    ZipFile(made, "w").close()
    return made.getvalue()


def another_zip() -> bytes:
    made = BytesIO()
    with ZipWriter(made) as target:
        target.add("letter.txt", b"")
    return made.getvalue()


def listed_raw(small: Path, name: str) -> bytes:
    return listed(small, **{name: b""})


def other_manifest(small: Path, manifest: bytes) -> bytes:
    return listed(small, layout.MANIFEST, **{layout.MANIFEST: manifest})


def signed_anew(small: Path) -> bytes:
    """By somebody who left the manifest as it is."""
    key = Ed25519PrivateKey.generate()
    manifest = json.loads(content(small, layout.MANIFEST))
    pem = keys.pem_of(key.public_key())
    for file in manifest["files"]:
        if file["name"] == layout.PUBLIC_KEY:
            file |= {"sha256": hashlib.sha256(pem).hexdigest(), "size": len(pem)}
    text = layout.json_bytes(manifest)
    added = {layout.PUBLIC_KEY: pem, layout.MANIFEST: text, layout.SIGNATURE: key.sign(text)}
    return listed(small, *added, **added)


def other_format(small: Path) -> bytes:
    said = json.loads(content(small, layout.MANIFEST)) | {"format": "xrayq evidence 2"}
    return other_manifest(small, layout.json_bytes(plain(said)))


@pytest.mark.parametrize("name", BAD)
def test_what_is_no_whole_pack(name: str, small: Path, tmp_path: Path) -> None:
    make, words = BAD[name]
    (tmp_path / "bad.zip").write_bytes(make(small))
    done = typed("evidence", "verify", str(tmp_path / "bad.zip"))
    assert (done.returncode, done.stderr) == (1, "")
    lines = done.stdout.splitlines()
    assert len(lines) <= 3, lines
    assert all(line.startswith("not whole: ") for line in lines), lines
    assert any(words in line for line in lines), lines
    assert "\x1b" not in done.stdout
    assert list(tmp_path.iterdir()) == [tmp_path / "bad.zip"], "nothing is unpacked"


def test_a_file_or_a_key_that_is_not_there(pack: Path, tmp_path: Path) -> None:
    for words in ((str(tmp_path / "none.zip"),), (str(tmp_path),), (str(pack), "--key", str(tmp_path / "none.pem"))):
        done = typed("evidence", "verify", *words)
        assert (done.returncode, done.stderr.count("\n"), done.stdout) == (3, 1, ""), done.stderr
        assert "keygen" not in done.stderr
    done = typed("evidence", "verify", str(pack), "--key", str(pack))
    assert (done.returncode, "is no public Ed25519 key" in done.stderr) == (5, True)
