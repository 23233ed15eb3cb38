"""Every TensorRT and CUDA name the code uses exists: in TensorRT 11.4's interface, in TensorRT-RTX, in cuda-python.

`tensorrt-api-11.4.json` lists the public names of the bindings of TensorRT 11.4.0: class -> members. The bindings
themselves cannot be imported without NVIDIA's libraries.
"""

import ast
import json
from collections.abc import Iterator
from pathlib import Path

import pytest

import model.engine

ENGINES = Path(next(iter(model.engine.__path__)))
API: dict[str, list[str]] = json.loads((Path(__file__).parent / "tensorrt-api-11.4.json").read_text())
MODULE_ATTRIBUTES = {"__name__", "__version__"}

# Which expressions hold a TensorRT object, and its class.
OBJECTS = {
    "build_plan.py": {
        "builder": "Builder",
        "cache": "ITimingCache",
        "config": "IBuilderConfig",
        "error": "ParserError",
        "kept": "ITimingCache",
        "network": "INetworkDefinition",
        "network.get_input()": "ITensor",
        "parser": "OnnxParser",
        "parser.get_error()": "ParserError",
        "profile": "IOptimizationProfile",
    },
    "plans.py": {},
    "tensorrt.py": {
        "config": "IRuntimeConfig",
        "context": "IExecutionContext",
        "engine": "ICudaEngine",
        "self._context": "IExecutionContext",
        "self._engine": "ICudaEngine",
        "self._runtime": "Runtime",
    },
}
MODULES = tuple(OBJECTS)
# Used only where the library is TensorRT-RTX, or after asking whether it is there.
RTX_ONLY = {
    ("DynamicShapesKernelSpecializationStrategy", "EAGER"),
    ("IRuntimeConfig", "dynamic_shapes_kernel_specialization_strategy"),
    ("IExecutionContext", "is_stream_capturable"),
}


def used(source: str, module: str) -> Iterator[tuple[str, str]]:
    """(class, member) for each TensorRT name in `source`; the member is empty where only the class is named."""
    tree = ast.parse(source)
    objects = OBJECTS[module]
    inner = {id(node.value) for node in ast.walk(tree) if isinstance(node, ast.Attribute)}
    for node in ast.walk(tree):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "getattr":
            holder, name = _text(node.args[0]), node.args[1]
            if holder in objects and isinstance(name, ast.Constant):
                yield objects[holder], str(name.value)
        if not isinstance(node, ast.Attribute):
            continue
        text = _text(node)
        if text.startswith("trt."):
            _, name, *members = text.split(".")
            if members or id(node) not in inner:
                yield name, members[0] if members else ""
        elif (holder := _text(node.value)) in objects:
            yield objects[holder], node.attr


def _text(node: ast.AST) -> str:
    """Dotted source of names, attributes and calls without their arguments."""
    if isinstance(node, ast.Name):
        return node.id
    if isinstance(node, ast.Attribute):
        return f"{_text(node.value)}.{node.attr}"
    if isinstance(node, ast.Call):
        return f"{_text(node.func)}()"
    return "?"


def unknown(source: str, module: str) -> set[tuple[str, str]]:
    """Names that TensorRT 11.4 does not have."""
    found = set()
    for name, member in used(source, module):
        if name in MODULE_ATTRIBUTES or member.startswith("__") or (name, member) in RTX_ONLY:
            continue
        if name == "Logger" and member == "Severity":  # its members are listed as the logger's own
            continue
        if name not in API or (member and member not in API[name]):
            found.add((name, member))
    return found


@pytest.mark.parametrize("module", MODULES)
def test_every_name_exists_in_tensorrt_11(module: str) -> None:
    assert unknown((ENGINES / module).read_text(), module) == set()


def test_the_code_uses_what_it_is_written_for() -> None:
    names = {pair for module in MODULES for pair in used((ENGINES / module).read_text(), module)}
    assert {
        ("Builder", "build_serialized_network"),
        ("IBuilderConfig", "set_timing_cache"),
        ("OnnxParser", "parse"),
        ("NetworkDefinitionCreationFlag", "STRONGLY_TYPED"),
        ("Runtime", "deserialize_cuda_engine"),
        ("ICudaEngine", "create_execution_context"),
        ("IExecutionContext", "execute_async_v3"),
        ("IExecutionContext", "set_tensor_address"),
        ("ParserError", "desc"),
        *RTX_ONLY,
    } <= names
    assert len(names) > 35


def test_no_other_module_touches_tensorrt() -> None:
    for path in ENGINES.glob("*.py"):
        names = {node.id for node in ast.walk(ast.parse(path.read_text())) if isinstance(node, ast.Name)}
        assert ("trt" in names) == (path.name in MODULES), path.name


@pytest.mark.parametrize(
    ("source", "found"),
    [
        ("flags(trt.BuilderFlag.FP16)", {("BuilderFlag", "FP16")}),
        ("trt.IInt8EntropyCalibrator2()", {("IInt8EntropyCalibrator2", "")}),
        ("builder.platform_has_fast_fp16", {("Builder", "platform_has_fast_fp16")}),
        ("profile.set_shape_of('x')", {("IOptimizationProfile", "set_shape_of")}),
        ("context.execute_async_v2(bindings)", {("IExecutionContext", "execute_async_v2")}),
        ("self._engine.max_batch_size", {("ICudaEngine", "max_batch_size")}),
        ("getattr(self._context, 'set_binding_shape')", {("IExecutionContext", "set_binding_shape")}),
        ("network.get_input(0).dynamic_range", {("ITensor", "dynamic_range")}),
        ("trt.DataType.UINT8", set()),
    ],
)
def test_names_that_tensorrt_11_removed_are_found(source: str, found: set[tuple[str, str]]) -> None:
    everywhere = {pair for module in ("build_plan.py", "tensorrt.py") for pair in unknown(source, module)}
    assert everywhere == found


@pytest.mark.parametrize("module", MODULES)
def test_every_name_exists_in_tensorrt_rtx(module: str) -> None:
    trt = pytest.importorskip("tensorrt_rtx")
    for name, member in used((ENGINES / module).read_text(), module):
        assert hasattr(trt, name), name
        assert not member or hasattr(getattr(trt, name), member), (name, member)


def test_every_cuda_name_exists_in_cuda_python() -> None:
    runtime = pytest.importorskip("cuda.bindings.runtime")
    tree = ast.parse((ENGINES / "cuda.py").read_text())
    texts = {node.value for node in ast.walk(tree) if isinstance(node, ast.Constant) and isinstance(node.value, str)}
    names = {text for text in texts if text.startswith("cuda") and text.isalnum()} - {"cudaSuccess"}
    chains = {_text(node) for node in ast.walk(tree) if isinstance(node, ast.Attribute)}
    chains = {chain.removeprefix("self._runtime.") for chain in chains if chain.startswith("self._runtime.cuda")}
    errors = {name for name in names if name.startswith("cudaError")}
    assert len(names) > 14
    assert len(chains) > 3
    assert all(hasattr(runtime.cudaError_t, name) for name in errors | {"cudaSuccess"})
    for chain in chains | (names - errors):
        holder = runtime
        for part in chain.split("."):
            assert hasattr(holder, part), chain
            holder = getattr(holder, part)
