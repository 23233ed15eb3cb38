"""`xrayq compile`: the plan of a bundle for this machine, from the cache or newly built. The layout is in `plans`."""

import hashlib
import time
from collections.abc import Callable
from pathlib import Path

from model.bundle import Bundle
from model.engine import build_plan, plans, seal
from model.engine.half import to_half
from model.engine.plans import Plan

SEAL_BYTES = 64


def _silent(_: str) -> None:
    pass


def compile_plan(
    bundle: Bundle, cache: Path, *, rebuild: bool = False, report: Callable[[str], None] = _silent
) -> Plan:
    """The plan of `bundle` for this machine, from `cache` or newly built into it.

    One process builds, others wait for it. `report` gets a line for each step. Without a GPU, tensorrt_rtx builds all
    the same: it shows that the network compiles, and no engine loads that plan.

    Raises:
        EngineError: nothing to build with or for; TensorRT refuses the network; the plan in the cache was altered
            (`rebuild` replaces it unread).
    """
    started = time.monotonic()
    content = bundle.onnx.read_bytes()
    facts = plans.plan_facts(content, bundle, plans.current_target())
    report(f"plan {facts.key} of {bundle.name} {bundle.version} for {facts.target}")
    with seal.locked(cache):
        secret = seal.make_key(cache)
        if (cache / f"{facts.key}.json").exists() and not rebuild:
            plan, _ = plans.verify(cache, secret, facts, started)
            report("found in the cache, seal holds")
            return plan
        graph = to_half(content)
        timing = cache / f"timing-{plans.timing_key(facts.target)}.bin"
        built = build_plan.build(graph, _profiles(bundle), timing=_read_timing(timing, secret), report=report)
        plans.write(cache, secret, facts, built.plan)
        if built.timing:
            sealed = seal.seal(secret, built.timing).encode()
            seal.write_atomically(timing, sealed + built.timing)
        digest = hashlib.sha256(built.plan).hexdigest()
        report(f"built and sealed {len(built.plan) / 1e6:.1f} MB in {time.monotonic() - started:.1f} s")
        return plans.describe(cache, facts, digest, len(built.plan), built=True, started=started)


def _profiles(bundle: Bundle) -> dict[str, build_plan.Profile]:
    size = bundle.preprocess.size
    smallest, best, largest = ((batch, 1, size, size) for batch in plans.BATCHES)
    return {plans.INPUT: (smallest, best, largest)}


def _read_timing(path: Path, secret: bytes) -> bytes:
    """An earlier timing cache, or nothing if there is none or its seal does not hold."""
    if not path.exists():
        return b""
    content = path.read_bytes()
    sealed, timing = content[:SEAL_BYTES], content[SEAL_BYTES:]
    return timing if seal.holds(secret, timing, sealed.decode("latin-1")) else b""
