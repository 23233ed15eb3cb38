"""The network alone: our ONNX Runtime engine beside the same network in eager torch, fp32, on the CPU."""

import time
from collections.abc import Callable

import numpy as np
import torch
from numpy.typing import NDArray

from model import bundle as bundles
from model.engine.ort import OrtEngine
from model.network import ChestResNet50
from tests.benchmarks.report import Row, Section, interleave, ratio, spread

THREADS = (1, 2)
BATCHES = {"xrayq": (1, 8, 32), "torch": (1, 8)}
Infer = Callable[[NDArray[np.uint8]], object]


def run(*, quick: bool) -> list[Section]:
    bundle = bundles.load(bundles.REFERENCE)
    network = ChestResNet50(findings=len(bundle.findings)).eval()

    def eager(threads: int) -> Infer:
        def infer(images: NDArray[np.uint8]) -> object:
            torch.set_num_threads(threads)
            with torch.inference_mode():
                return network(torch.from_numpy(images)).numpy()

        return infer

    latencies: dict[str, list[float]] = {}

    def contestant(name: str, infer: Infer, batch: int) -> Callable[[], float]:
        images = np.random.default_rng(0).integers(0, 256, (batch, 1, bundle.preprocess.size, bundle.preprocess.size))
        batches = [images.astype(np.uint8)] * max(1, (8 if quick else 32) // batch)
        latencies[name] = []

        def measure() -> float:
            times = [_seconds(infer, images) for images in batches]
            latencies[name] += times
            return batch * len(times) / sum(times)

        return measure

    keys, contestants = {}, {}
    for threads in THREADS:
        engines: dict[str, Infer] = {"xrayq": OrtEngine(bundle, threads=threads).infer, "torch": eager(threads)}
        for name, infer in engines.items():
            for batch in BATCHES[name]:
                key = f"{name} {threads} {batch}"
                keys[key] = (name, threads, batch)
                contestants[key] = contestant(key, infer, batch)
    interleave(contestants, 1)  # warm up
    for times in latencies.values():
        times.clear()
    rates = interleave(contestants, 3 if quick else 5)
    rows: list[Row] = []
    for key, (name, threads, batch) in keys.items():
        rival = f"torch {threads} {batch}"
        p50, p99 = np.percentile(latencies[key], (50, 99)) * 1e3
        rows.append(
            {
                "engine": "xrayq, ONNX Runtime" if name == "xrayq" else "torch, eager",
                "threads": threads,
                "batch": batch,
                "images/s": spread(rates[key]),
                "p50, ms": float(p50),
                "p99, ms": float(p99),
                "calls": len(latencies[key]),
                "xrayq / torch": ratio(rates[key], rates[rival]) if name == "xrayq" and rival in rates else "",
            }
        )
    return [Section(title=f"engine: ResNet50, fp32, {bundle.preprocess.size} x {bundle.preprocess.size}", rows=rows)]


def _seconds(infer: Infer, images: NDArray[np.uint8]) -> float:
    started = time.perf_counter()
    infer(images)
    return time.perf_counter() - started
