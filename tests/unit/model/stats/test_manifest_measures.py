"""What a manifest says was measured: read whole, or named as unreadable; and what is published reads back."""

import copy
import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from model import bundle as bundles
from model.bundle import Bundle
from model.errors import BundleError
from model.evaluation.evaluate import EvaluationContent
from model.gate.gate_measures import GateMeasures
from model.stats.agreement import Agreement
from model.stats.manifest_measures import gate_shares, split_shares, variant_measures

GOLDEN = Path(__file__).parents[3] / "golden/measures/evaluation.json"


@pytest.fixture(scope="module")
def reference() -> Bundle:
    return bundles.load(bundles.REFERENCE)


def without(value: dict[str, Any], *path: str) -> dict[str, Any]:
    """A copy that lacks one key."""
    changed: dict[str, Any] = copy.deepcopy(value)
    place = changed
    for name in path[:-1]:
        place = place[name]
    del place[path[-1]]
    return changed


def test_the_reference_says_what_was_measured(reference: Bundle) -> None:
    assert reference.gate
    shares, found = gate_shares(reference)["val"], reference.gate["metrics"]["val"]
    assert shares.eligible_refused.value == found["eligible_refused"]["value"]
    assert shares.view.accuracy.n == found["view"]["accuracy"]["n"]
    assert split_shares(reference)["test"].films == reference.metrics["test"]["films"]
    assert variant_measures(reference, "int8").images_per_s == reference.variants["int8"]["images_per_s"]


@pytest.mark.parametrize(
    "path",
    [
        ("metrics",),
        ("metrics", "val"),
        ("metrics", "test", "eligible_refused"),
        ("metrics", "val", "ap_tagged_pa_refused", "value"),
        ("metrics", "val", "view", "accuracy"),
    ],
    ids=".".join,
)
def test_a_gate_that_lacks_a_measure_is_named(reference: Bundle, path: tuple[str, ...]) -> None:
    assert reference.gate
    with pytest.raises(BundleError, match=rf"manifest\.json: gate .*{path[-1] if len(path) > 2 else 'validation'}"):
        gate_shares(replace(reference, gate=without(reference.gate, *path)))


@pytest.mark.parametrize(
    ("read", "block", "path"),
    [
        (split_shares, "metrics", ("val", "recall")),
        (split_shares, "metrics", ("test", "flags", "covid19", "specificity")),
        (lambda bundle: variant_measures(bundle, "int8"), "variants", ("int8", "val")),
        (lambda bundle: variant_measures(bundle, "int8"), "variants", ("int8", "images_per_s")),
    ],
)
def test_a_missing_measure_is_named(
    reference: Bundle, read: Callable[[Bundle], object], block: str, path: tuple[str, ...]
) -> None:
    odd = replace(reference, **{block: without(getattr(reference, block), *path)})
    with pytest.raises(BundleError, match=rf"manifest\.json: {block} of {path[0]} cannot be read: .*{path[-1]}"):
        read(odd)


def test_a_variant_that_is_not_there_is_named(reference: Bundle) -> None:
    with pytest.raises(BundleError, match="no int8 variant"):
        variant_measures(replace(reference, variants={}), "int8")


def test_a_bundle_without_a_gate_has_no_shares(reference: Bundle) -> None:
    assert gate_shares(replace(reference, gate=None)) == {}


def test_what_is_published_reads_back(reference: Bundle) -> None:
    evaluation = json.loads(GOLDEN.read_text(encoding="utf-8"))
    assert EvaluationContent.read(evaluation).as_dict() == evaluation
    assert reference.gate
    for split in ("val", "test"):
        gate, int8 = reference.gate["metrics"][split], reference.variants["int8"][split]
        assert GateMeasures.read(gate).as_dict() == gate
        assert Agreement.read(int8).as_dict() == int8
