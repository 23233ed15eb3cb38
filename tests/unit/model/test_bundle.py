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


def point(**changes: Any) -> dict[str, Any]:
    return {"operating_points": [POINT.as_dict() | changes]}


def bins(*steps: dict[str, Any]) -> dict[str, Any]:
    return {"calibration": {"temperature": 1.5, "bins": {"covid19": list(steps)}}}


def step(**changes: Any) -> dict[str, Any]:
    return {"up_to": 1.0, "films": 9, "positives": 1, "interval95": [0.0, 0.4]} | changes


def sets(**changes: Any) -> dict[str, Any]:
    each = {"limits": dict.fromkeys(FINDINGS, 0.1), "films": dict.fromkeys(FINDINGS, 20)}
    return {"conformal": {"coverage": 0.9} | each | changes}


IMPOSSIBLE: list[tuple[dict[str, Any], str]] = [
    *((point(threshold=value), "threshold must be a number") for value in (5, -1, 1.1, "0.5", ".5", None, True, [0.5])),
    *((point(threshold=value), "is no number") for value in (float("nan"), float("inf"))),
    (point(sensitivity=7), "sensitivity must be a number"),
    (point(specificity="NaN"), "specificity must be a number"),
    (point(positives=-1), "positives must be a whole number"),
    (point(negatives=2.5), "negatives must be a whole number"),
    (point(finding=["covid19"]), "finding must be a text"),
    (point(id="a\nb"), "id must be a text"),
    (point(target="luck"), "target must be sensitivity or specificity"),
    (point(met=1), "met must be true or false"),
    (point(sensitivity_interval95=[0.9, 0.1]), "must not end below its beginning"),
    (point(specificity_interval95=[0.9]), "must have two ends"),
    (point(flagged_by_label={"covid19": [3, 2]}), "3 of 2 films"),
    (point(surprise=1), "has 'surprise', which"),
    ({"operating_points": [POINT.as_dict(), POINT.as_dict()]}, "more than one operating point for covid19"),
    ({"operating_points": {}}, "operating_points must be a list"),
    (bins(), "must rise"),
    (bins(step(up_to=0.5)), "must rise"),
    (bins(step(), step(up_to=0.5)), "must rise"),
    (bins(step(interval95=[2, -1])), "interval95 must be a number"),
    (bins(step(interval95=[0.4, 0.1])), "must not end below"),
    (bins(step(positives=10)), "10 films with it of 9"),
    ({"calibration": {"temperature": "1.5"}}, "temperature must be a number"),
    ({"calibration": {"temperature": True}}, "temperature must be a number"),
    ({"calibration": {"temperature": 2, "method": "none"}}, "leaves logits alone"),
    (
        {"calibration": {"temperature": 1, "method": "vector", "scale": "123", "bias": [0, 0, 0]}},
        "scale must be a list",
    ),
    ({"calibration": {"temperature": 1, "prior_shift": []}}, "prior_shift must be a block"),
    (sets(coverage="0.9"), "coverage of prediction sets must be a number"),
    (sets(coverage=1), "between 0 and 1"),
    (sets(limits=dict.fromkeys(FINDINGS, "NaN")), "limit of prediction sets of normal must be a number"),
    (sets(films={}), "films of prediction sets must have a value for each"),
    ({"conformal": []}, "conformal must be a block"),
    *(({"gate": value}, "gate must be a block") for value in ([1], [], "x", 1, False)),
    ({"gate": {"a": 1}}, "'thresholds'"),
    ({"gate": {"thresholds": {"other": "0.5"}}}, "threshold other of the gate must be a number"),
    *(({"preprocess": {"size": value}}, "size must be a whole number") for value in (0, -224, "224", 224.0, True)),
    ({"preprocess": {"stretch_low": 99, "stretch_high": 1}}, "must be under stretch_high"),
    ({"preprocess": {"stretch_high": 101}}, "stretch_high must be a number"),
    *(({"name": value}, "name must be a text") for value in ("a\x1b[2J", "a\nb", "", 7, "\u202eabc")),
    ({"version": 3}, "version must be a text"),
    ({"metrics": []}, "metrics must be a block"),
    ({"metrics": {"val": 1}}, "metrics of val must be a block"),
    ({"provenance": []}, "provenance must be a block"),
    ({"provenance": {"calibrated": None}}, "calibrated must be a block"),
    ({"variants": []}, "variants must be a block"),
    ({"devices": {}}, "devices must be a list"),
    ({"parent": 7}, "parent must be a text"),
    ({"findings": "normal"}, "findings must be a list"),
    ({"findings": ["normal", "covid19", "normal"]}, "each named once"),
    ({"schema": True}, "reads bundle schemas"),
]


@pytest.mark.parametrize(("changes", "message"), IMPOSSIBLE, ids=[str(changes)[:60] for changes, _ in IMPOSSIBLE])
def test_an_impossible_value_is_refused(tmp_path: Path, changes: dict[str, Any], message: str) -> None:
    path = write(tmp_path).path
    rewrite(path, **changes)
    with pytest.raises(BundleError, match=message) as caught:
        bundles.load(path)
    assert str(caught.value).isprintable()


@pytest.mark.parametrize("name", ["name", "version", "provenance", "metrics", "operating_points", "preprocess"])
def test_null_is_no_value(tmp_path: Path, name: str) -> None:
    path = write(tmp_path).path
    manifest = json.loads((path / MANIFEST).read_text()) | {name: None}
    (path / MANIFEST).write_text(json.dumps(manifest))
    with pytest.raises(BundleError, match=f"{name} must be"):
        bundles.load(path)


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ('"threshold": 0.25', '"threshold": 1e999', "too large a number"),
        ('"threshold": 0.25', '"threshold": 0.25, "threshold": 0.9', "'threshold' twice"),
        ('"metrics": {', '"metrics": ' + "[" * 100_000 + "{", "too many blocks|not JSON"),
    ],
    ids=["infinite", "a key twice", "deep"],
)
def test_json_that_means_nothing_is_refused(tmp_path: Path, old: str, new: str, message: str) -> None:
    path = write(tmp_path).path
    text = (path / MANIFEST).read_text()
    assert old in text
    (path / MANIFEST).write_text(text.replace(old, new))
    with pytest.raises(BundleError, match=message):
        bundles.load(path)


def test_a_bundle_that_cannot_be_read_is_not_written(tmp_path: Path) -> None:
    with pytest.raises(BundleError, match="threshold must be"):
        write(tmp_path, operating_points=(replace(POINT, threshold=5),))
    assert not (tmp_path / "small").exists()


def test_a_threshold_that_flags_no_film_is_kept(tmp_path: Path) -> None:
    (kept,) = write(tmp_path, operating_points=(replace(POINT, threshold=1.000001),)).operating_points
    assert kept.threshold == 1.000001
