"""A bundle: a folder with everything that makes a score, and the digests that prove it is whole.

    NAME/manifest.json   findings, preprocessing, temperature, operating points, metrics, provenance, file digests
    NAME/model.onnx      uint8 [N, 1, size, size] -> logits [N, findings], fp16 weights

The bundle's digest is the SHA-256 of manifest.json, which holds the SHA-256 of every other file.
"""

import hashlib
import json
import os
import shutil
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from model.decision import OperatingPoint
from model.errors import BundleError
from model.preprocess import PreprocessSpec

SCHEMA = 1
MANIFEST = "manifest.json"
MODEL = "model.onnx"
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

    @property
    def onnx(self) -> Path:
        return self.path / MODEL


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
) -> Bundle:
    """Write a new bundle folder, all or nothing, and read it back. Raises BundleError if `path` exists."""
    if path.exists():
        raise BundleError(f"{path} exists: bundles are never changed, write a new one beside it")
    draft = path.with_name(path.name + ".part")
    shutil.rmtree(draft, ignore_errors=True)
    draft.mkdir(parents=True)
    shutil.copyfile(onnx, draft / MODEL)
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
        "files": {MODEL: file_digest(draft / MODEL)},
    }
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
        )
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise BundleError(f"{path / MANIFEST}: missing or malformed field ({error})") from error
    unknown = {point.finding for point in bundle.operating_points} - set(bundle.findings)
    if unknown or not bundle.temperature > 0:
        raise BundleError(f"{path / MANIFEST}: temperature must be positive and operating points name findings")
    return bundle


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
