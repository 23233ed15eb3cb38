"""A bundle: a folder with everything that makes a score, and the digests that prove it is whole.

    NAME/manifest.json   findings, preprocessing, calibration, operating points, how prediction sets are made, the
                         same of single X-ray devices, gate, metrics, provenance, file digests
    NAME/model.onnx      uint8 [N, 1, size, size] -> logits [N, findings], fp16 weights
    NAME/model.int8.onnx the same in int8, where `xrayq compile` made it
    NAME/gate.onnx       the network that looks at view and orientation, where `xrayq gate` made it

    NAME/card.json       the model card, where `xrayq bundle card` made it; not of the bundle, but about it

The bundle's digest is the SHA-256 of manifest.json, which holds the SHA-256 of every other file but the card's. The
card names this digest.
"""

import hashlib
import json
import os
import shutil
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from model.calibration import Calibration
from model.conformal import Conformal
from model.decision import OperatingPoint, read_points
from model.digest import file_digest
from model.errors import BundleError
from model.findings import NOT_NORMAL, negative_of
from model.manifest_values import block, blocks, json_of, label, maybe, number, sequence, text
from model.preprocess import PreprocessSpec
from model.xray_devices import DeviceCalibration, XrayDevice, device_of, in_order

SCHEMA = 2
SCHEMA_OF_DEVICES = 3
"""Of a bundle with calibrations of single devices: a release that does not know them must not score by the others."""
READABLE = (1, 2, 3)
"""Schema 1 has a temperature and none of the optional blocks."""
MANIFEST = "manifest.json"
MODEL = "model.onnx"
VARIANT = "model.{}.onnx"
GATE = "gate.onnx"
SHIPPED = Path(__file__).parent / "bundles"
REFERENCE = SHIPPED / "reference"


@dataclass(frozen=True, kw_only=True)
class Bundle:
    """A verified bundle, from `load`; or what `write` is to write."""

    path: Path = Path()
    name: str
    version: str
    digest: str = ""
    """SHA-256 of the manifest, hex; "" before it is written."""
    findings: tuple[str, ...]
    negative: str = ""
    """The finding that stands for nothing found; "" before it is written, for normal or else the first."""
    preprocess: PreprocessSpec
    calibration: Calibration
    operating_points: tuple[OperatingPoint, ...]
    metrics: dict[str, Any]
    provenance: dict[str, Any]
    variants: dict[str, dict[str, Any]] = field(default_factory=dict)
    """By precision: the same network computed in another way, its file and what was measured of it; see
    `model.int8.compile`. Empty in a bundle that was not compiled."""
    conformal: Conformal | None = None
    """How prediction sets are made; None in a bundle that makes none."""
    devices: tuple[DeviceCalibration, ...] = ()
    """Calibrations of single X-ray devices, in the order they are asked; empty in a bundle with one for all films."""
    gate: dict[str, Any] | None = None
    """What the pixels must show before a film is scored; None in a bundle that looks at none."""
    parent: str | None = None
    """Digest of the bundle this one was derived from with the same network."""
    files: tuple[str, ...] = ()
    """Names of its files but the manifest."""

    @property
    def onnx(self) -> Path:
        """The network in fp32: the reference of every variant."""
        return self.path / MODEL

    def variant(self, precision: str) -> Path:
        """The network in another precision. Raises BundleError if the bundle has none."""
        if precision not in self.variants:
            raise BundleError(f"bundle {self.name} has no {precision} variant: 'xrayq compile' makes one")
        return self.path / str(self.variants[precision]["file"])

    def device_of(self, film: XrayDevice) -> str:
        """The name of the device whose calibration the film takes; "" for the bundle's own."""
        return device_of(film, self.devices)

    def for_device(self, name: str) -> "Bundle":
        """The bundle as it is for films of a device: its calibration, operating points, prediction sets and metrics.

        "" gives the bundle itself. Raises BundleError where it has no such device.
        """
        if not name:
            return self
        device = next((device for device in self.devices if device.name == name), None)
        if device is None:
            raise BundleError(f"bundle {self.name} {self.version} has no calibration of a device {name}")
        return replace(
            self,
            calibration=device.calibration,
            operating_points=device.operating_points,
            conformal=device.conformal,
            metrics=dict(device.metrics),
        )

    @property
    def of_same_network(self) -> tuple[str, ...]:
        """Digests of bundles that are known to give the same logits: its own, its parent's, those its devices name."""
        return tuple(filter(None, (self.digest, self.parent, *(one.record.get("bundle") for one in self.devices))))


def write(path: Path, bundle: Bundle, *, files: dict[str, Path]) -> Bundle:
    """Write a new bundle folder and read it back, all or nothing.

    Args:
        bundle: what the manifest says; its path, digest and files are ignored.
        files: by their names in the bundle; MODEL is among them.

    Raises:
        BundleError: `path` exists, or a field is not what `load` takes: then there is no `path`.
    """
    refuse_existing(path)
    draft = path.with_name(path.name + ".part")
    shutil.rmtree(draft, ignore_errors=True)
    draft.mkdir(parents=True)
    for name, source in files.items():
        shutil.copyfile(source, draft / name)
    optional = {
        "variants": bundle.variants,
        "conformal": bundle.conformal and bundle.conformal.as_dict(),
        "devices": [device.as_dict() for device in in_order(bundle.devices)],
        "gate": bundle.gate,
        "parent": bundle.parent,
    }
    manifest = {
        "schema": SCHEMA_OF_DEVICES if bundle.devices else SCHEMA,
        "name": bundle.name,
        "version": bundle.version,
        "findings": list(bundle.findings),
        "negative": bundle.negative or negative_of(bundle.findings),
        "preprocess": bundle.preprocess.as_dict(),
        "calibration": bundle.calibration.as_dict(),
        "operating_points": [point.as_dict() for point in bundle.operating_points],
        "metrics": bundle.metrics,
        "provenance": bundle.provenance,
        "files": {name: file_digest(draft / name) for name in files},
    } | {name: value for name, value in optional.items() if value}
    (draft / MANIFEST).write_text(json.dumps(manifest, indent=2, sort_keys=True) + "\n", encoding="utf-8")
    made = load(draft)
    os.rename(draft, path)  # noqa: PTH104 - the one atomic step
    return replace(made, path=path)


def refuse_existing(path: Path) -> None:
    """Raises BundleError."""
    if path.exists():
        raise BundleError(f"{path} exists: bundles are never changed, write a new one beside it")


def derive(bundle: Bundle, path: Path, *, files: dict[str, Path] | None = None, **changes: Any) -> Bundle:
    """Write a new bundle with the same network: its fields changed, its files kept, replaced or joined by `files`.

    Raises:
        BundleError: `path` exists.
    """
    kept = {name: bundle.path / name for name in bundle.files}
    return write(path, replace(bundle, **({"parent": bundle.digest} | changes)), files=kept | (files or {}))


def trunk_stories(bundle: Bundle) -> list[dict[str, Any]]:
    """How the trunk that the network began with was made, and the one before it: `xrayq pretrain` says on how many
    `films`, `xrayq trunk convert` from which `checkpoint` and under which licence."""
    stories, story = [], bundle.provenance.get("pretraining")
    while story:
        stories.append({name: value for name, value in story.items() if name != "start"})
        story = story.get("start")
    return stories


def load(path: Path) -> Bundle:
    """Read a bundle and check every digest and field.

    Raises:
        BundleError: anything missing, altered or of another schema; the message names the file.
    """
    try:
        raw = (path / MANIFEST).read_bytes()
        manifest = json_of(raw)
    except OSError as error:
        raise BundleError(f"{path / MANIFEST}: {error.strerror}") from error
    except ValueError as error:
        raise BundleError(f"{path / MANIFEST} is not JSON: {error}") from error
    schema = manifest.get("schema") if isinstance(manifest, dict) else None
    if type(schema) is not int or schema not in READABLE:  # true is 1, and no schema
        raise BundleError(f"{path / MANIFEST}: this version reads bundle schemas {READABLE}")
    try:
        _verify_files(path, block(manifest["files"], "files"))
        findings, conformal = _findings(manifest["findings"]), manifest.get("conformal")
        bundle = Bundle(
            path=path,
            name=label(manifest["name"], "name"),
            version=label(manifest["version"], "version"),
            digest=hashlib.sha256(raw).hexdigest(),
            findings=findings,
            negative=text(manifest.get("negative", negative_of(findings)), "negative"),
            preprocess=PreprocessSpec.read(manifest["preprocess"]),
            calibration=Calibration.read(manifest if schema == 1 else manifest["calibration"], findings),
            operating_points=read_points(manifest["operating_points"], findings),
            metrics=blocks(manifest["metrics"], "metrics"),
            provenance=_provenance(manifest["provenance"]),
            variants=_variants(manifest),
            conformal=None if conformal is None else Conformal.read(conformal, findings),
            devices=_devices(manifest, findings),
            gate=_gate(manifest),
            parent=maybe(label)(manifest.get("parent"), "parent"),
            files=tuple(sorted(manifest["files"])),
        )
    except (LookupError, TypeError, ValueError, AttributeError) as error:
        raise BundleError(f"{path / MANIFEST}: missing or malformed field ({error})") from error
    if NOT_NORMAL in bundle.findings:
        raise BundleError(f"{path / MANIFEST}: {NOT_NORMAL} is the name of a flag and no finding")
    if not bundle.negative == negative_of(bundle.findings) == bundle.findings[0]:
        raise BundleError(
            f"{path / MANIFEST}: the negative finding is {negative_of(bundle.findings)} and stands first, "
            f"not {bundle.negative} of {', '.join(bundle.findings)}"
        )
    if bundle.gate is not None and GATE not in bundle.files:
        raise BundleError(f"{path / MANIFEST} lists no {GATE}")
    return bundle


def _findings(found: object) -> tuple[str, ...]:
    """Of a manifest. Raises ValueError."""
    findings = tuple(text(name, "finding", least=1, most=32) for name in sequence(found, "findings"))
    if not findings or len(set(findings)) < len(findings):
        raise ValueError("findings must be one or more, each named once")
    return findings


def _provenance(found: object) -> dict[str, Any]:
    """Of a manifest: the blocks that are read by name are blocks. Raises ValueError."""
    provenance = block(found, "provenance")
    for name in ("calibrated", "recipe"):
        block(provenance.get(name, {}), name)
    maybe(block)(provenance.get("pretraining"), "pretraining")
    sequence(provenance.get("history", ()), "history")
    return provenance


def _gate(manifest: dict[str, Any]) -> dict[str, Any] | None:
    """Of a manifest; None where it has none. Its limits are numbers; `model.gate` knows which there must be, and a
    bundle of another release may have others. Raises KeyError or ValueError."""
    if manifest.get("gate") is None:
        return None
    gate = block(manifest["gate"], "gate")
    for name, limit in block(gate["thresholds"], "thresholds of the gate").items():
        number(limit, f"threshold {name} of the gate", low=0)
    return gate


def _variants(manifest: dict[str, Any]) -> dict[str, dict[str, Any]]:
    """Of a manifest; {} where it has none. Raises ValueError if one names no listed file."""
    variants = blocks(manifest.get("variants", {}), "variants")
    for precision, record in variants.items():
        if record["file"] == MODEL or record["file"] not in manifest["files"]:
            raise ValueError(f"variant {precision} names no listed file")
    return variants


def _devices(manifest: dict[str, Any], findings: tuple[str, ...]) -> tuple[DeviceCalibration, ...]:
    """Of a manifest. Raises ValueError where two have one name."""
    devices = tuple(DeviceCalibration.read(one, findings) for one in sequence(manifest.get("devices", ()), "devices"))
    if len({device.name for device in devices}) < len(devices):
        raise ValueError("two devices have the same name")
    return devices


def _verify_files(path: Path, files: dict[str, str]) -> None:
    if MODEL not in files:
        raise BundleError(f"{path / MANIFEST} lists no {MODEL}")
    for name, expected in files.items():
        if Path(name).name != name:
            raise BundleError(f"{path / MANIFEST}: file name {name!r} leaves the bundle")
        try:
            actual = file_digest(path / name)
        except (FileNotFoundError, IsADirectoryError):
            raise BundleError(f"{path / name} is missing") from None
        except OSError as error:
            raise BundleError(f"{path / name}: {error.strerror}") from error
        if actual != expected:
            raise BundleError(f"{path / name} was altered: digest {actual[:12]}, manifest says {expected[:12]}")
