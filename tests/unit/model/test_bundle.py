import json
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from model import bundle as bundles
from model.bundle import MANIFEST, MODEL, Bundle
from model.calibration import Calibration
from model.decision import OperatingPoint
from model.digest import file_digest
from model.errors import BundleError
from model.findings import FINDINGS
from model.preprocess import PreprocessSpec

POINT = OperatingPoint(
    finding="covid19",
    threshold=0.25,
    sensitivity=0.9,
    specificity=0.8,
    positives=10,
    negatives=20,
    chosen_on="val: test",
)
FIELDS: dict[str, Any] = {
    "name": "small",
    "version": "1.2.3",
    "findings": FINDINGS,
    "preprocess": PreprocessSpec(size=64),
    "calibration": Calibration(temperature=1.5),
    "operating_points": (POINT,),
    "metrics": {"val": {"films": 3}},
    "provenance": {"recipe": {"seed": 1}},
}


def write(
    folder: Path,
    name: str = "small",
    content: bytes = b"weights",
    files: dict[str, Path] | None = None,
    **changes: Any,
) -> Bundle:
    onnx = folder / "source.onnx"
    onnx.write_bytes(content)
    return bundles.write(folder / name, Bundle(**(FIELDS | changes)), files={MODEL: onnx} | (files or {}))


def rewrite(path: Path, **changes: Any) -> None:
    """Change fields of the manifest; None drops one."""
    manifest = json.loads((path / MANIFEST).read_text()) | changes
    kept = {name: value for name, value in manifest.items() if value is not None}
    (path / MANIFEST).write_text(json.dumps(kept))


def test_what_was_written_is_read(tmp_path: Path) -> None:
    written = write(tmp_path)
    assert written == bundles.load(tmp_path / "small")
    assert {name: getattr(written, name) for name in FIELDS} == FIELDS
    assert written.onnx.read_bytes() == b"weights"
    assert written.digest == file_digest(written.path / MANIFEST)


def test_digest_names_the_content_not_the_place(tmp_path: Path) -> None:
    first = write(tmp_path)
    assert bundles.load(shutil.copytree(first.path, tmp_path / "elsewhere")).digest == first.digest
    assert write(tmp_path, "again").digest == first.digest


@pytest.mark.parametrize(
    "change",
    [
        {"content": b"weightS"},
        {"name": "other"},
        {"version": "1.2.4"},
        {"findings": (*FINDINGS, "tb")},
        {"preprocess": PreprocessSpec(size=65)},
        {"calibration": Calibration(temperature=1.501)},
        {"operating_points": (replace(POINT, threshold=0.26),)},
        {"metrics": {}},
        {"provenance": {"recipe": {"seed": 2}}},
    ],
    ids=lambda change: next(iter(change)),
)
def test_any_change_gives_another_digest(tmp_path: Path, change: dict[str, Any]) -> None:
    first = write(tmp_path)
    (tmp_path / "b").mkdir()
    fields = {key: value for key, value in change.items() if key not in ("content", "name")}
    onnx = tmp_path / "other.onnx"
    onnx.write_bytes(change.get("content", b"weights"))
    draft = Bundle(**(FIELDS | fields | {"name": change.get("name", "small")}))
    other = bundles.write(tmp_path / "b" / "small", draft, files={MODEL: onnx})
    assert other.digest != first.digest


def test_no_byte_can_change_unnoticed(tmp_path: Path) -> None:
    bundle = write(tmp_path)
    unnoticed = []
    for name in (MANIFEST, MODEL):
        path = bundle.path / name
        whole = path.read_bytes()
        for at in range(len(whole)):
            path.write_bytes(whole[:at] + bytes([whole[at] ^ 1]) + whole[at + 1 :])
            try:
                if bundles.load(bundle.path).digest == bundle.digest:
                    unnoticed.append((name, at))
            except BundleError:
                continue
        path.write_bytes(whole)
    assert unnoticed == []
    assert bundles.load(bundle.path) == bundle


def altered_model(path: Path) -> None:
    (path / MODEL).write_bytes(b"Weights")


def cut_model(path: Path) -> None:
    (path / MODEL).write_bytes(b"weight")


FAULTS: list[tuple[str, Any, str]] = [
    ("altered model", altered_model, r"model\.onnx was altered: digest \w{12}, manifest says \w{12}"),
    ("cut model", cut_model, r"model\.onnx was altered"),
    ("no model", lambda path: (path / MODEL).unlink(), r"model\.onnx is missing"),
    ("no manifest", lambda path: (path / MANIFEST).unlink(), r"manifest\.json: No such file"),
    ("no folder", shutil.rmtree, r"manifest\.json: No such file"),
    ("not JSON", lambda path: (path / MANIFEST).write_text("{"), r"manifest\.json is not JSON"),
    ("not UTF-8", lambda path: (path / MANIFEST).write_bytes(b'{"a": "\xff"}'), r"manifest\.json is not JSON"),
    ("a list", lambda path: (path / MANIFEST).write_text("[1]"), r"reads bundle schemas"),
    ("next schema", lambda path: rewrite(path, schema=4), r"reads bundle schemas"),
    ("no schema", lambda path: rewrite(path, schema=None), r"reads bundle schemas"),
    ("no files", lambda path: rewrite(path, files={}), r"lists no model\.onnx"),
    ("files a list", lambda path: rewrite(path, files=[MODEL]), r"malformed field"),
    ("digest a number", lambda path: rewrite(path, files={MODEL: 7}), r"malformed field"),
    ("zero temperature", lambda path: rewrite(path, calibration={"temperature": 0}), r"temperature must be positive"),
    (
        "negative temperature",
        lambda path: rewrite(path, calibration={"temperature": -1.5}),
        r"temperature must be positive",
    ),
    ("temperature not a number", lambda path: rewrite(path, calibration={"temperature": "warm"}), r"malformed field"),
    ("unknown preprocessing", lambda path: rewrite(path, preprocess={"sharpen": 1}), r"malformed field \(.*sharpen"),
    ("other negative", lambda path: rewrite(path, negative="covid19"), "the negative finding is normal and stands"),
    ("negative not first", lambda path: rewrite(path, findings=["covid19", "normal"]), "not normal of covid19, normal"),
    ("foreign finding", lambda path: rewrite(path, findings=["normal"]), r"operating points for covid19, not findings"),
    ("point without threshold", lambda path: rewrite(path, operating_points=[{"finding": "normal"}]), r"threshold"),
] + [
    (f"no {name}", lambda path, name=name: rewrite(path, **{name: None}), rf"missing or malformed field \('{name}'\)")
    for name in FIELDS | {"files": None}
]


@pytest.mark.parametrize(("damage", "message"), [fault[1:] for fault in FAULTS], ids=[fault[0] for fault in FAULTS])
def test_damage_is_named(tmp_path: Path, damage: Any, message: str) -> None:
    path = write(tmp_path).path
    damage(path)
    with pytest.raises(BundleError, match=message) as caught:
        bundles.load(path)
    assert str(path) in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("name", ["../source.onnx", "/etc/hostname", "sub/model.onnx", "..", ".", ""])
def test_file_names_stay_inside(tmp_path: Path, name: str) -> None:
    path = write(tmp_path).path
    files = json.loads((path / MANIFEST).read_text())["files"]
    rewrite(path, files=files | {name: files[MODEL]})
    with pytest.raises(BundleError, match=r"leaves the bundle|is missing"):
        bundles.load(path)


def test_other_listed_files_are_checked_too(tmp_path: Path) -> None:
    path = write(tmp_path).path
    (path / "card.md").write_text("a card")
    files = json.loads((path / MANIFEST).read_text())["files"]
    rewrite(path, files=files | {"card.md": file_digest(path / "card.md")})
    assert bundles.load(path).name == "small"
    (path / "card.md").write_text("another")
    with pytest.raises(BundleError, match=r"card\.md was altered"):
        bundles.load(path)


def test_bundle_is_never_overwritten(tmp_path: Path) -> None:
    first = write(tmp_path)
    with pytest.raises(BundleError, match="exists: bundles are never changed"):
        write(tmp_path, content=b"other")
    assert bundles.load(first.path) == first


def test_half_a_bundle_of_a_killed_run_is_replaced(tmp_path: Path) -> None:
    half = tmp_path / "small.part"
    half.mkdir()
    (half / "junk").write_text("")
    path = write(tmp_path).path
    assert sorted(entry.name for entry in path.iterdir()) == [MANIFEST, MODEL]
    assert not half.exists()


def test_what_cannot_be_written_leaves_no_bundle(tmp_path: Path) -> None:
    with pytest.raises(TypeError, match="not JSON serializable"):
        write(tmp_path, provenance={"when": object()})
    assert not (tmp_path / "small").exists()


def with_variant(folder: Path) -> Bundle:
    (folder / "fast.onnx").write_bytes(b"integers")
    record = {"file": "model.int8.onnx", "passed": True, "pair": (1, 2)}
    return write(folder, "fast", files={"model.int8.onnx": folder / "fast.onnx"}, variants={"int8": record})


def test_a_variant_is_part_of_the_bundle(tmp_path: Path) -> None:
    made = with_variant(tmp_path)
    assert made.variants == {"int8": {"file": "model.int8.onnx", "passed": True, "pair": [1, 2]}}
    assert made.variant("int8").read_bytes() == b"integers"
    assert made.digest != write(tmp_path).digest
    made.variant("int8").write_bytes(b"Integers")
    with pytest.raises(BundleError, match=r"model\.int8\.onnx was altered"):
        bundles.load(made.path)


def test_a_bundle_without_variants_says_so_when_asked(tmp_path: Path) -> None:
    made = write(tmp_path)
    assert made.variants == {}
    assert "variants" not in json.loads((made.path / MANIFEST).read_text())
    with pytest.raises(BundleError, match="bundle small has no int8 variant: 'xrayq compile' makes one"):
        made.variant("int8")


@pytest.mark.parametrize(
    "record", [{"file": "other.onnx"}, {"file": MODEL}, {"file": "../x"}, {}, 7, None], ids=lambda record: str(record)
)
def test_a_variant_names_a_listed_file(tmp_path: Path, record: Any) -> None:
    path = with_variant(tmp_path).path
    rewrite(path, variants={"int8": record})
    with pytest.raises(BundleError, match="malformed field"):
        bundles.load(path)


def test_a_trunks_story_is_told_to_its_beginning() -> None:
    start = {"checkpoint": "theirs.pt", "licence": "MIT"}
    bundle = Bundle(**FIELDS | {"provenance": {"pretraining": {"films": 5000, "start": start}}})
    assert bundles.trunk_stories(bundle) == [{"films": 5000}, start]
    for nothing in ({}, {"pretraining": None}):
        assert bundles.trunk_stories(Bundle(**FIELDS | {"provenance": nothing})) == []
