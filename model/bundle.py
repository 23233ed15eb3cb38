"""A bundle: a folder with everything that makes a score, and the digests that prove it is whole.

    NAME/manifest.json   findings, preprocessing, temperature, operating points, metrics, provenance, file digests
    NAME/model.onnx      uint8 [N, 1, size, size] -> logits [N, findings], fp16 weights
    NAME/model.int8.onnx the same in int8, where `xrayq compile` made it

The bundle's digest is the SHA-256 of manifest.json, which holds the SHA-256 of every other file.
"""

import hashlib
import json
import os
import shutil
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any

from model.decision import OperatingPoint
from model.errors import BundleError
from model.preprocess import PreprocessSpec

SCHEMA = 1
MANIFEST = "manifest.json"
MODEL = "model.onnx"
VARIANT = "model.{}.onnx"
SHIPPED = Path(__file__).parent / "bundles"
REFERENCE = SHIPPED / "reference"


@dataclass(frozen=True, kw_only=True)
class Bundle:
    """A verified bundle. Build one with `load`."""

    path: Path
    name: str
    version: str
    digest: str
    """SHA-256 of the manifest, hex."""
    findings: tuple[str, ...]
    preprocess: PreprocessSpec
    temperature: float
    operating_points: tuple[OperatingPoint, ...]
    metrics: dict[str, Any]
    provenance: dict[str, Any]
    variants: dict[str, dict[str, Any]]
    """By precision: the same network computed in another way, its file and what was measured of it; see
    `model.compile`. Empty in a bundle that was not compiled."""

    @property
    def onnx(self) -> Path:
        """The network in fp32: the reference of every variant."""
        return self.path / MODEL

    def variant(self, precision: str) -> Path:
        """The network in another precision. Raises BundleError if the bundle has none."""
        if precision not in self.variants:
            raise BundleError(f"bundle {self.name} has no {precision} variant: 'xrayq compile' makes one")
        return self.path / str(self.variants[precision]["file"])


def write(
    path: Path,
    *,
    name: str,
    version: str,
    onnx: Path,
    findings: tuple[str, ...],
    preprocess: PreprocessSpec,
    temperature: float,
    operating_points: tuple[OperatingPoint, ...],
    metrics: dict[str, Any],
    provenance: dict[str, Any],
    variants: Mapping[str, tuple[Path, dict[str, Any]]] = MappingProxyType({}),
) -> Bundle:
    """Write a new bundle folder, all or nothing, and read it back.

    Args:
        variants: by precision, the ONNX file and what was measured of it.

    Raises:
        BundleError: `path` exists.
    """
    if path.exists():
        raise BundleError(f"{path} exists: bundles are never changed, write a new one beside it")
    draft = path.with_name(path.name + ".part")
    shutil.rmtree(draft, ignore_errors=True)
    draft.mkdir(parents=True)
    shutil.copyfile(onnx, draft / MODEL)
    files = {MODEL: file_digest(draft / MODEL)}
    records: dict[str, Any] = {}
    for precision, (source, record) in variants.items():
        file = VARIANT.format(precision)
        shutil.copyfile(source, draft / file)
        files[file] = file_digest(draft / file)
        records[precision] = record | {"file": file}
    manifest = {
        "schema": SCHEMA,
        "name": name,
        "version": version,
        "findings": list(findings),
        "preprocess": preprocess.as_dict(),
        "temperature": temperature,
        "operating_points": [asdict(point) for point in operating_points],
        "metrics": metrics,
        "provenance": provenance,
        "files": files,
    } | ({"variants": records} if records else {})
    (draft / MANIFEST).write_text(json.dumps(manifest, indent=2, sort_keys=True) + "\n", encoding="utf-8")
    os.rename(draft, path)  # noqa: PTH104 - the one atomic step
    return load(path)


def load(path: Path) -> Bundle:
    """Read a bundle and check every digest and field.

    Raises:
        BundleError: anything missing, altered or of another schema; the message names the file.
    """
    try:
        raw = (path / MANIFEST).read_bytes()
        manifest = json.loads(raw)
    except OSError as error:
        raise BundleError(f"{path / MANIFEST}: {error.strerror}") from error
    except ValueError as error:
        raise BundleError(f"{path / MANIFEST} is not JSON") from error
    if not isinstance(manifest, dict) or manifest.get("schema") != SCHEMA:
        raise BundleError(f"{path / MANIFEST}: this version reads bundle schema {SCHEMA}")
    try:
        _verify_files(path, manifest["files"])
        bundle = Bundle(
            path=path,
            name=str(manifest["name"]),
            version=str(manifest["version"]),
            digest=hashlib.sha256(raw).hexdigest(),
            findings=tuple(manifest["findings"]),
            preprocess=PreprocessSpec(**manifest["preprocess"]),
            temperature=float(manifest["temperature"]),
            operating_points=tuple(OperatingPoint(**point) for point in manifest["operating_points"]),
            metrics=manifest["metrics"],
            provenance=manifest["provenance"],
            variants=_variants(manifest),
        )
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise BundleError(f"{path / MANIFEST}: missing or malformed field ({error})") from error
    unknown = {point.finding for point in bundle.operating_points} - set(bundle.findings)
    if unknown or not bundle.temperature > 0:
        raise BundleError(f"{path / MANIFEST}: temperature must be positive and operating points name findings")
    return bundle


def _variants(manifest: dict[str, Any]) -> dict[str, dict[str, Any]]:
    """Of a manifest; {} where it has none. Raises ValueError if one names no listed file."""
    variants = dict(manifest.get("variants", {}))
    for precision, record in variants.items():
        if record["file"] == MODEL or record["file"] not in manifest["files"]:
            raise ValueError(f"variant {precision} names no listed file")
    return variants


def file_digest(path: Path) -> str:
    with path.open("rb") as handle:
        return hashlib.file_digest(handle, "sha256").hexdigest()


def _verify_files(path: Path, files: dict[str, str]) -> None:
    if MODEL not in files:
        raise BundleError(f"{path / MANIFEST} lists no {MODEL}")
    for name, expected in files.items():
        if Path(name).name != name:
            raise BundleError(f"{path / MANIFEST}: file name {name!r} leaves the bundle")
        if not (path / name).is_file():
            raise BundleError(f"{path / name} is missing")
        actual = file_digest(path / name)
        if actual != expected:
            raise BundleError(f"{path / name} was altered: digest {actual[:12]}, manifest says {expected[:12]}")
