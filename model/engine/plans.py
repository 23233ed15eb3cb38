"""Plans: built once for one network, GPU and TensorRT version, sealed, and refused everywhere else.

    CACHE/key               secret of this folder, mode 0600
    CACHE/lock              held while one process builds
    CACHE/KEY.json          manifest: what the plan is for, its SHA-256, and the seal over all of that
    CACHE/KEY.DIGEST.plan   the plan
    CACHE/timing-KEY.bin    timing cache, sealed: the next build for the same GPU and version is quicker

KEY is a digest of everything a plan depends on. A plan is executable code: nothing is deserialised before its seal.
"""

import hashlib
import json
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from model.bundle import Bundle
from model.engine import build_plan, seal
from model.engine.cuda import Cuda
from model.errors import EngineError, NoGpuError

SCHEMA = 1
INPUT, OUTPUT = "images", "logits"
BATCHES = (1, 32, 64)
"""Smallest, best and largest batch a plan takes."""
RECIPE = "fp16-trunk-1"
"""Which graph is compiled: change it with what `half.to_half` writes, or with how build_plan builds."""


@dataclass(frozen=True, kw_only=True)
class Target:
    """What a plan runs on."""

    library: str
    """tensorrt or tensorrt_rtx."""
    version: str
    gpu: str
    """Its name, empty on a machine without one."""
    capability: str
    """Compute capability, 8.9; empty without a GPU."""

    def __str__(self) -> str:
        return (
            f"{self.gpu or 'no GPU'}{f' ({self.capability})' if self.capability else ''}, {self.library} {self.version}"
        )


@dataclass(frozen=True, kw_only=True)
class PlanFacts:
    """Everything a plan depends on."""

    schema: int = SCHEMA
    onnx: str
    """SHA-256 of the network, hex."""
    recipe: str = RECIPE
    profile: tuple[int, ...] = BATCHES
    size: int
    """Side of a film, pixels."""
    target: Target

    @property
    def key(self) -> str:
        return _digest(self.as_dict())

    def as_dict(self) -> dict[str, Any]:
        """As in the manifest: the target's fields stand beside the others."""
        own = {name: value for name, value in vars(self).items() if name != "target"}
        return own | {"profile": list(self.profile)} | asdict(self.target)


@dataclass(frozen=True, kw_only=True)
class Plan:
    """A sealed plan in the cache."""

    path: Path
    key: str
    target: Target
    digest: str
    """SHA-256 of the plan, hex."""
    size: int
    """Bytes."""
    built: bool
    """False: it was there already."""
    seconds: float
    """Time the call took."""


def current_target() -> Target:
    """This machine. Raises EngineError if TensorRT is missing, or a GPU is and the library cannot do without."""
    trt = build_plan.import_trt()
    library, version = trt.__name__, trt.__version__
    try:
        cuda = Cuda()
    except NoGpuError:
        if library != "tensorrt_rtx":  # which alone builds without a GPU
            raise
        return Target(library=library, version=version, gpu="", capability="")
    return Target(library=library, version=version, gpu=cuda.gpu, capability=cuda.capability)


def open_plan(bundle: Bundle, cache: Path) -> tuple[Plan, bytes]:
    """The plan of `bundle` for this machine's GPU, checked: these bytes may be deserialised.

    Raises:
        EngineError: no such plan, a plan that was altered or sealed by another installation, or no GPU.
    """
    started = time.monotonic()
    Cuda()
    facts = plan_facts(bundle.onnx.read_bytes(), bundle, current_target())
    if not (cache / f"{facts.key}.json").exists():
        others = _others(cache, facts.onnx)
        known = f"; it has plans for {'; '.join(others)}" if others else ""
        raise EngineError(f"{cache} has no plan of this bundle for {facts.target}{known}: run `xrayq compile`")
    return verify(cache, seal.read_key(cache), facts, started)


def plan_facts(onnx: bytes, bundle: Bundle, target: Target) -> PlanFacts:
    return PlanFacts(onnx=hashlib.sha256(onnx).hexdigest(), size=bundle.preprocess.size, target=target)


def timing_key(target: Target) -> str:
    """Names the timing cache of this machine."""
    return _digest(asdict(target))


def write(cache: Path, secret: bytes, facts: PlanFacts, content: bytes) -> None:
    """The plan under its own digest first, then the manifest that names it: no moment has one without the other."""
    key, digest = facts.key, hashlib.sha256(content).hexdigest()
    path = _path(cache, key, digest)
    seal.write_atomically(path, content)
    manifest = {**facts.as_dict(), "sha256": digest, "bytes": len(content)}
    sealed = {**manifest, "seal": seal.seal(secret, _canonical(manifest))}
    seal.write_atomically(cache / f"{key}.json", json.dumps(sealed, indent=2, sort_keys=True).encode() + b"\n")
    for old in cache.glob(f"{key}.*.plan"):
        if old != path:
            old.unlink()


def verify(cache: Path, secret: bytes, facts: PlanFacts, started: float) -> tuple[Plan, bytes]:
    path = cache / f"{facts.key}.json"
    refused = "was altered or written by another installation: run `xrayq compile --rebuild`"
    manifest = _manifest(path)
    if not seal.holds(secret, _canonical({**manifest, "seal": None}), str(manifest.get("seal"))):
        raise EngineError(f"{path} {refused}")
    wrong = [name for name, value in facts.as_dict().items() if manifest.get(name) != value]
    if wrong:
        raise EngineError(
            f"{path} is for {_target_in(manifest)}, this is {facts.target} (differs in {', '.join(wrong)}): "
            f"run `xrayq compile --rebuild`"
        )
    digest = str(manifest["sha256"])
    plan = _path(cache, facts.key, digest)
    try:
        content = plan.read_bytes()
    except OSError as error:
        raise EngineError(f"{plan} cannot be read ({error.strerror}): run `xrayq compile --rebuild`") from error
    if hashlib.sha256(content).hexdigest() != digest:
        raise EngineError(f"{plan} {refused}")
    return describe(cache, facts, digest, len(content), built=False, started=started), content


def _manifest(path: Path) -> dict[str, Any]:
    try:
        manifest = json.loads(path.read_bytes())
    except (OSError, ValueError) as error:
        raise EngineError(f"{path} is not a plan's manifest: run `xrayq compile --rebuild`") from error
    if not isinstance(manifest, dict):
        raise EngineError(f"{path} is not a plan's manifest: run `xrayq compile --rebuild`")
    return manifest


def _target_in(manifest: dict[str, Any]) -> Target:
    """Only to be shown: nothing of it is trusted."""
    return Target(**{name: str(manifest.get(name, "")) for name in ("library", "version", "gpu", "capability")})


def _others(cache: Path, onnx: str) -> list[str]:
    """Which machines this folder has plans of the same network for. Only to be shown: nothing here is trusted."""
    machines = []
    for path in sorted(cache.glob("*.json")):
        try:
            manifest = _manifest(path)
        except EngineError:
            continue
        if manifest.get("onnx") == onnx:
            machines.append(str(_target_in(manifest)))
    return machines


def describe(cache: Path, facts: PlanFacts, digest: str, size: int, *, built: bool, started: float) -> Plan:
    return Plan(
        path=_path(cache, facts.key, digest),
        key=facts.key,
        target=facts.target,
        digest=digest,
        size=size,
        built=built,
        seconds=time.monotonic() - started,
    )


def _path(cache: Path, key: str, digest: str) -> Path:
    return cache / f"{key}.{digest[:16]}.plan"


def _digest(fields: dict[str, Any]) -> str:
    return hashlib.sha256(_canonical(fields)).hexdigest()[:32]


def _canonical(fields: dict[str, Any]) -> bytes:
    """The fields but the seal, written one way."""
    without = {name: value for name, value in fields.items() if name != "seal"}
    return json.dumps(without, sort_keys=True, separators=(",", ":")).encode()
