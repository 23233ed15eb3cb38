"""Plans: built for real through TensorRT-RTX without a GPU, sealed, cached, and refused when altered."""

import copy
import hashlib
import json
import stat
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

pytest.importorskip("onnx")
pytest.importorskip("torch")  # model.training.export writes the networks
pytest.importorskip("onnxruntime")

from onnx import TensorProto, helper

from model.bundle import REFERENCE, Bundle, load
from model.engine import build_plan, cuda, plans, seal
from model.engine.half import to_half
from model.engine.ort import OrtEngine
from model.engine.plan_cache import compile_plan
from model.engine.plans import Plan, Target, open_plan
from model.errors import EngineError, NoGpuError
from tests.unit.model.tiny import SIZE, network, tiny_bundle, tiny_network

# TensorRT-RTX keeps the timing cache's calls and does nothing with them.
pytestmark = pytest.mark.filterwarnings("ignore:.*Timing cache operations are no-ops")

PROFILE = {"images": ((1, 1, SIZE, SIZE), (32, 1, SIZE, SIZE), (64, 1, SIZE, SIZE))}
L4 = Target(library="tensorrt", version="11.4.0", gpu="NVIDIA L4", capability="8.9")


@pytest.fixture(scope="module")
def reference() -> Bundle:
    return load(REFERENCE)


@pytest.fixture
def tiny(tmp_path: Path) -> Bundle:
    return tiny_bundle(tmp_path / "bundle")


@pytest.fixture
def cache(tmp_path: Path) -> Path:
    return tmp_path / "plans"


@pytest.fixture(scope="module")
def rtx() -> Any:
    return pytest.importorskip("tensorrt_rtx")


@pytest.fixture
def no_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    answer = (SimpleNamespace(name="cudaErrorInsufficientDriver"), None)
    monkeypatch.setattr(cuda, "_runtime", lambda: SimpleNamespace(cudaGetDeviceCount=lambda: answer))


@pytest.fixture
def on(monkeypatch: pytest.MonkeyPatch) -> Callable[[Target], None]:
    """Pretend to be another machine: its name enters the key; building stays TensorRT-RTX's."""

    class Found:
        pass

    def pretend(target: Target) -> None:
        monkeypatch.setattr(plans, "current_target", lambda: target)
        monkeypatch.setattr(plans, "Cuda", Found)

    return pretend


# --- TensorRT builds, or says why not


def test_the_real_network_builds(rtx: Any, reference: Bundle, cache: Path, no_gpu: None) -> None:
    lines: list[str] = []
    plan = compile_plan(reference, cache, report=lines.append)
    assert 40e6 < plan.size < 60e6  # fp16: half of the 95 MB that fp32 takes
    assert plan.built
    assert plan.path.stat().st_size == plan.size
    assert plan.target == Target(library="tensorrt_rtx", version=rtx.__version__, gpu="", capability="")
    assert [line.split()[0] for line in lines] == ["plan", "parsed", "built"]


def _unknown_operation() -> Any:
    return network([helper.make_node("Frobnicate", ["images"], ["logits"], name="middle")], {})


def _second_input() -> Any:
    made = copy.deepcopy(tiny_network())
    made.graph.input.append(helper.make_tensor_value_info("mask", TensorProto.FLOAT, ["batch", 3]))
    made.graph.node[-1].output[0] = "unmasked"
    made.graph.node.append(helper.make_node("Mul", ["unmasked", "mask"], ["logits"]))
    return made


def _fixed_batch() -> Any:
    made = tiny_network()
    for value in (*made.graph.input, *made.graph.output):
        value.type.tensor_type.shape.dim[0].dim_value = 4
    return made


@pytest.mark.parametrize(
    ("content", "profiles", "says"),
    [
        (b"garbage", PROFILE, "cannot parse.*Failed to parse the ONNX model"),
        (_unknown_operation().SerializeToString(), PROFILE, r"cannot parse.*\(Frobnicate\) middle"),
        (tiny_network().SerializeToString(), {}, "cannot build.*no optimization profile"),
        (tiny_network().SerializeToString(), {"films": PROFILE["images"]}, r"inputs \['images'\].*\['films'\]"),
        (_second_input().SerializeToString(), PROFILE, r"inputs \['images', 'mask'\]"),
        (_fixed_batch().SerializeToString(), PROFILE, "cannot build"),
        (tiny_network().SerializeToString(), {"images": PROFILE["images"][::-1]}, "refuses the shapes|cannot build"),
    ],
    ids=["garbage", "operation", "no profile", "other input", "second input", "fixed batch", "falling profile"],
)
def test_what_cannot_be_built_says_why(rtx: Any, content: bytes, profiles: Any, says: str) -> None:
    with pytest.raises(EngineError, match=says) as caught:
        build_plan.build(content, profiles)
    assert "\n" not in str(caught.value)


def test_a_timing_cache_that_is_garbage_does_not_stop_the_build(rtx: Any) -> None:
    """TensorRT-RTX ignores it by itself; that `tensorrt` refuses it and gets an empty one runs on a GPU only."""
    built = build_plan.build(to_half(tiny_network().SerializeToString()), PROFILE, timing=b"garbage")
    assert built.plan
    assert built.timing != b"garbage"


def test_without_tensorrt_the_error_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "tensorrt", None)
    monkeypatch.setitem(__import__("sys").modules, "tensorrt_rtx", None)
    with pytest.raises(EngineError, match="pip install tensorrt-cu13"):
        build_plan.import_trt()


def test_tensorrt_itself_does_not_build_without_a_gpu(
    tiny: Bundle, cache: Path, no_gpu: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(build_plan, "import_trt", lambda: SimpleNamespace(__name__="tensorrt", __version__="11.4.0"))
    with pytest.raises(NoGpuError, match="no usable NVIDIA GPU"):
        compile_plan(tiny, cache)


# --- the cache


def test_a_plan_is_built_once(rtx: Any, tiny: Bundle, cache: Path, no_gpu: None) -> None:
    first = compile_plan(tiny, cache)
    before = first.path.stat().st_mtime_ns
    again = compile_plan(tiny, cache)
    assert (first.built, again.built) == (True, False)
    assert replace(again, built=True, seconds=0) == replace(first, seconds=0)
    assert again.path.stat().st_mtime_ns == before
    rebuilt = compile_plan(tiny, cache, rebuild=True)
    assert (rebuilt.built, rebuilt.key) == (True, first.key)
    assert len(list(cache.glob("*.plan"))) == 1


def test_only_the_owner_reads_the_cache(rtx: Any, tiny: Bundle, cache: Path, no_gpu: None) -> None:
    compile_plan(tiny, cache)
    modes = {path.name: stat.S_IMODE(path.stat().st_mode) for path in cache.iterdir()}
    assert set(modes.values()) == {0o600}
    assert stat.S_IMODE(cache.stat().st_mode) == 0o700
    assert len((cache / "key").read_bytes()) == 32
    assert not list(cache.glob("*.part"))


def test_one_builds_and_the_others_wait(rtx: Any, tiny: Bundle, cache: Path, no_gpu: None) -> None:
    with ThreadPoolExecutor(4) as threads:
        made = list(threads.map(lambda _: compile_plan(tiny, cache), range(4)))
    assert sorted(plan.built for plan in made) == [False, False, False, True]
    assert len({plan.digest for plan in made}) == 1


def test_every_fact_is_in_the_key(tiny: Bundle) -> None:
    base = plans.plan_facts(b"onnx", tiny, L4)
    others = [
        plans.plan_facts(b"other", tiny, L4),
        plans.plan_facts(b"onnx", replace(tiny, preprocess=replace(tiny.preprocess, size=64)), L4),
        *(plans.plan_facts(b"onnx", tiny, replace(L4, **{name: "x"})) for name in vars(L4)),
        replace(base, recipe="x"),
        replace(base, profile=(1, 2, 3)),
    ]
    assert len({facts.key for facts in (base, *others)}) == 1 + len(others)


def test_plans_that_earlier_releases_built_keep_their_key(tiny: Bundle) -> None:
    """A digest of the manifest's own fields, which stand side by side in it."""
    facts = plans.plan_facts(b"onnx", tiny, L4)
    fields = {
        "schema": 1,
        "onnx": hashlib.sha256(b"onnx").hexdigest(),
        "recipe": plans.RECIPE,
        "profile": [1, 32, 64],
        "size": tiny.preprocess.size,
        **asdict(L4),
    }
    written = json.dumps(fields, sort_keys=True, separators=(",", ":")).encode()
    assert facts.as_dict() == fields
    assert facts.key == hashlib.sha256(written).hexdigest()[:32]


def test_a_served_plan_is_the_bytes_that_were_checked(
    rtx: Any, tiny: Bundle, cache: Path, on: Callable[[Target], None]
) -> None:
    on(L4)
    made = compile_plan(tiny, cache)
    plan, content = open_plan(tiny, cache)
    assert (plan.digest, plan.size, plan.target, plan.built) == (made.digest, len(content), L4, False)
    assert content == made.path.read_bytes()


@pytest.mark.parametrize(
    "other",
    [
        replace(L4, gpu="NVIDIA T4", capability="7.5"),
        replace(L4, version="11.5.0"),
        replace(L4, library="tensorrt_rtx"),
    ],
    ids=["gpu", "version", "library"],
)
def test_a_plan_from_another_machine_is_refused(
    rtx: Any, tiny: Bundle, cache: Path, on: Callable[[Target], None], other: Target
) -> None:
    on(other)
    made = compile_plan(tiny, cache)
    on(L4)
    with pytest.raises(EngineError, match=r"no plan of this bundle for NVIDIA L4.*run `xrayq compile`") as caught:
        open_plan(tiny, cache)
    assert str(other) in str(caught.value)
    # Renamed to what this machine looks for, it is still sealed, and still another's.
    key = plans.plan_facts(tiny.onnx.read_bytes(), tiny, L4).key
    (cache / f"{made.key}.json").rename(cache / f"{key}.json")
    made.path.rename(cache / made.path.name.replace(made.key, key))
    with pytest.raises(EngineError, match=r"differs in (gpu, capability|version|library)\)"):
        open_plan(tiny, cache)


def _flip(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)


def _edit(path: Path, **fields: Any) -> None:
    path.write_text(json.dumps(json.loads(path.read_text()) | fields))


def _swap(cache: Path, plan: Plan) -> None:
    """A plan of the attacker's own, with its true digest in the manifest."""
    digest = "0" * 64
    _edit(cache / f"{plan.key}.json", sha256=digest)
    plan.path.rename(cache / f"{plan.key}.{digest[:16]}.plan")


ALTERATIONS: dict[str, tuple[Callable[[Path, Plan], Any], str]] = {
    "plan": (lambda _cache, plan: _flip(plan.path), "altered"),
    "plan cut": (lambda _cache, plan: plan.path.write_bytes(plan.path.read_bytes()[:-1]), "altered"),
    "plan gone": (lambda _cache, plan: plan.path.unlink(), "cannot be read"),
    "other plan": (_swap, "altered"),
    "manifest": (lambda cache, plan: _edit(cache / f"{plan.key}.json", bytes=1), "altered"),
    "seal": (lambda cache, plan: _edit(cache / f"{plan.key}.json", seal="é"), "altered"),
    "no seal": (lambda cache, plan: _edit(cache / f"{plan.key}.json", seal=None), "altered"),
    "not JSON": (lambda cache, plan: (cache / f"{plan.key}.json").write_text("{"), "not a plan's manifest"),
    "a list": (lambda cache, plan: (cache / f"{plan.key}.json").write_text("[]"), "not a plan's manifest"),
    "key": (lambda cache, _plan: _flip(cache / "key"), "altered"),
    "key cut": (lambda cache, _plan: (cache / "key").write_bytes(b"x"), "damaged"),
    "key gone": (lambda cache, _plan: (cache / "key").unlink(), "cannot be read"),
    "key for all": (lambda cache, _plan: (cache / "key").chmod(0o640), "mode 0600"),
}


@pytest.mark.parametrize("name", ALTERATIONS)
def test_what_was_altered_is_not_served(
    rtx: Any, tiny: Bundle, cache: Path, on: Callable[[Target], None], name: str
) -> None:
    alter, says = ALTERATIONS[name]
    on(L4)
    made = compile_plan(tiny, cache)
    open_plan(tiny, cache)
    alter(cache, made)
    with pytest.raises(EngineError, match=says) as caught:
        open_plan(tiny, cache)
    assert "\n" not in str(caught.value)
    if name in ("key cut", "key for all"):
        return  # those say: delete the folder
    if name != "key gone":
        with pytest.raises(EngineError, match=says):
            compile_plan(tiny, cache)  # does not serve it either, and does not replace what it cannot explain
    assert compile_plan(tiny, cache, rebuild=True).built
    open_plan(tiny, cache)


def test_a_build_that_died_leaves_nothing_to_serve(
    rtx: Any, tiny: Bundle, cache: Path, on: Callable[[Target], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    on(L4)
    write = seal.write_atomically

    def die_at_the_manifest(path: Path, content: bytes) -> None:
        if path.suffix == ".json":
            raise KeyboardInterrupt
        write(path, content)

    monkeypatch.setattr(seal, "write_atomically", die_at_the_manifest)
    with pytest.raises(KeyboardInterrupt):
        compile_plan(tiny, cache)
    monkeypatch.undo()
    on(L4)
    with pytest.raises(EngineError, match="has no plan"):
        open_plan(tiny, cache)
    assert compile_plan(tiny, cache).built
    assert len(list(cache.glob("*.plan"))) == 1


def test_the_timing_cache_is_used_only_under_its_seal(
    rtx: Any, tiny: Bundle, cache: Path, no_gpu: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    given: list[bytes] = []
    build = build_plan.build

    def spy(*arguments: Any, timing: bytes, **options: Any) -> Any:
        given.append(timing)
        return build(*arguments, timing=timing, **options)

    monkeypatch.setattr(build_plan, "build", spy)
    compile_plan(tiny, cache)
    (timing,) = cache.glob("timing-*.bin")
    kept = timing.read_bytes()[64:]
    compile_plan(tiny, cache, rebuild=True)
    _flip(timing)
    compile_plan(tiny, cache, rebuild=True)
    timing.write_bytes(b"\xff" * 10)
    compile_plan(tiny, cache, rebuild=True)
    assert given == [b"", kept, b"", b""]
    assert kept


def test_a_cache_that_cannot_be_written_says_so(rtx: Any, tiny: Bundle, tmp_path: Path, no_gpu: None) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(EngineError, match=r"plan cache .* cannot be written"):
        compile_plan(tiny, tmp_path / "file" / "plans")


def test_without_a_gpu_nothing_is_opened(tiny: Bundle, cache: Path, no_gpu: None) -> None:
    from model.engine.tensorrt import TensorRTEngine

    with pytest.raises(NoGpuError, match=r"install its driver.*or use the CPU") as caught:
        TensorRTEngine(tiny, cache, reference=OrtEngine(tiny, threads=1))
    assert "\n" not in str(caught.value)
