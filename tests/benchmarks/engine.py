"""The network alone: every CPU engine beside the same network in eager torch, fp32."""

import time
from collections.abc import Callable

import numpy as np
import torch
from numpy.typing import NDArray

from model import bundle as bundles
from model.bundle import Bundle
from model.engine.choose import open_engine
from model.training.resnet import ChestResNet50
from tests.benchmarks.report import Cell, Row, Section, Target, interleave, ratio, spread

ENGINES = ("onnxruntime", "onnxruntime-int8")
RIVAL = "torch, eager"
THREADS = (1, 2)
BATCHES = (1, 8, 32, 64)
AT_LEAST = 3.0
"""What the chosen engine must be beside eager torch."""
Infer = Callable[[NDArray[np.uint8]], object]
Key = tuple[str, int, int]


def run(*, quick: bool) -> list[Section]:
    bundle = bundles.load(bundles.REFERENCE)
    shape = (BATCHES[-1], 1, bundle.preprocess.size, bundle.preprocess.size)
    images = np.random.default_rng(0).integers(0, 256, shape).astype(np.uint8)
    latencies: dict[Key, list[float]] = {}
    contestants: dict[str, Callable[[], float]] = {}
    keys: dict[str, Key] = {}
    for threads in THREADS:
        for name, infer in _engines(bundle, threads).items():
            for batch in (1, 8) if quick else BATCHES:
                key = (name, threads, batch)
                keys[str(key)] = key
                latencies[key] = []
                calls = max(1, (8 if quick else 16) // batch)
                contestants[str(key)] = _contestant(infer, images[:batch], calls, latencies[key])
    interleave(contestants, 1)  # warm up
    for times in latencies.values():
        times.clear()
    rates = {keys[label]: found for label, found in interleave(contestants, 2 if quick else 3).items()}
    chosen = open_engine(bundle).spec.precision
    rows: list[Row] = []
    for key, times in latencies.items():
        name, threads, batch = key
        beside: Cell = ""
        if name != RIVAL:
            beside = ratio(rates[key], rates[RIVAL, threads, batch])
        p50, p99 = np.percentile(times, (50, 99)) * 1e3
        rows.append(
            {
                "engine": name,
                "threads": threads,
                "batch": batch,
                "images/s": spread(rates[key]),
                "p50, ms": float(p50),
                "p99, ms": float(p99),
                "calls": len(times),
                "beside torch": beside,
                "target": _target(name, chosen, beside),
            }
        )
    note = f"'auto' chooses {chosen} here. p99 of few calls is their slowest. Target: the chosen engine at least 3x."
    return [
        Section(title=f"engine: ResNet50, {bundle.preprocess.size} x {bundle.preprocess.size}", rows=rows, note=note)
    ]


def _engines(bundle: Bundle, threads: int) -> dict[str, Infer]:
    network = ChestResNet50(findings=len(bundle.findings)).eval()

    def eager(images: NDArray[np.uint8]) -> object:
        torch.set_num_threads(threads)
        with torch.inference_mode():
            return network(torch.from_numpy(images)).numpy()

    return {name: open_engine(bundle, name, threads=threads, flag_tolerance=1.0).infer for name in ENGINES} | {
        RIVAL: eager
    }


def _target(name: str, chosen: str, beside: Cell) -> Cell:
    precision = "int8" if name.endswith("int8") else "fp32"
    median = getattr(beside, "median", None)
    return Target(value=median, at_least=AT_LEAST) if median is not None and precision == chosen else ""


def _contestant(infer: Infer, images: NDArray[np.uint8], calls: int, latencies: list[float]) -> Callable[[], float]:
    def measure() -> float:
        times = [_seconds(infer, images) for _ in range(calls)]
        latencies.extend(times)
        return len(images) * calls / sum(times)

    return measure


def _seconds(infer: Infer, images: NDArray[np.uint8]) -> float:
    started = time.perf_counter()
    infer(images)
    return time.perf_counter() - started
