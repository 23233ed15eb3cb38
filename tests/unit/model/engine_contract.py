"""What every engine must do. A test module says how to make one, and runs each check of CHECKS on it."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np
import pytest
from numpy.typing import NDArray

from model.engine.base import Engine, EngineSpec
from model.errors import EngineError


@dataclass(frozen=True, kw_only=True)
class Subject:
    """An engine under test, open and warmed up, beside the reference."""

    engine: Engine
    again: Callable[[], Engine]
    """Opens another one like it."""
    images: NDArray[np.uint8]
    """[N, 1, size, size], N >= 4, no two alike."""
    reference: NDArray[np.float32]
    """Their logits by the reference engine."""
    tolerance: float
    """Largest difference of a logit from the reference."""
    steadiness: float = 1e-4
    """Largest difference of a logit between two batches that hold the same film."""


BATCHES = (1, 2, 3, 5, 8, 17, 64)
WRONG = (
    np.zeros((1, 1, 224, 224), np.float32),
    np.zeros((1, 1, 224, 224), np.int8),
    np.zeros((1, 3, 224, 224), np.uint8),
    np.zeros((1, 1, 223, 224), np.uint8),
    np.zeros((1, 224, 224), np.uint8),
    np.zeros((224, 224), np.uint8),
    np.zeros((0, 1, 224, 224), np.uint8),
    np.zeros((), np.uint8),
)
"""For a network of 224 x 224."""


def spec_is_complete(subject: Subject) -> None:
    spec = subject.engine.spec
    assert isinstance(spec, EngineSpec)
    assert spec.name.endswith(f"-{spec.precision}")
    assert spec.precision in ("fp32", "fp16", "int8")
    assert spec.device
    assert list(spec.batches) == sorted(set(spec.batches))
    assert spec.batches[0] >= 1


def any_batch_gives_each_film_its_logits(subject: Subject) -> None:
    alone = np.concatenate([subject.engine.infer(image[None]) for image in subject.images])
    largest = subject.engine.spec.batches[-1]
    for count in (one for one in BATCHES if one <= 2 * largest + 1):  # what is more is only more of the same parts
        films = np.arange(count) * 5 % len(subject.images)
        logits = subject.engine.infer(subject.images[films])
        assert (logits.dtype, logits.shape) == (np.float32, (count, subject.reference.shape[1]))
        assert np.abs(logits - alone[films]).max() <= subject.steadiness, f"batch of {count}"


def order_does_not_matter(subject: Subject) -> None:
    forth, back = subject.engine.infer(subject.images), subject.engine.infer(subject.images[::-1])
    assert np.abs(forth - back[::-1]).max() <= subject.steadiness


def same_input_same_logits(subject: Subject) -> None:
    assert np.array_equal(subject.engine.infer(subject.images), subject.engine.infer(subject.images))


def reference_agrees(subject: Subject) -> None:
    difference = np.abs(subject.engine.infer(subject.images) - subject.reference).max()
    assert difference <= subject.tolerance
    mixed = np.abs(subject.reference - np.roll(subject.reference, 1, axis=0)).max()
    assert mixed > 2 * subject.tolerance, "films too alike for this tolerance to mean anything"


def threads_share_it(subject: Subject) -> None:
    batches = [subject.images[at : at + 1 + at % 3] for at in range(len(subject.images) - 2)] * 3
    expected = [subject.engine.infer(batch) for batch in batches]
    with ThreadPoolExecutor(4) as threads:
        answers = list(threads.map(subject.engine.infer, batches))
    assert all(np.abs(one - two).max() <= subject.steadiness for one, two in zip(answers, expected, strict=True))


def answers_are_the_callers(subject: Subject) -> None:
    first = subject.engine.infer(subject.images[:2])
    kept, given = first.copy(), subject.images[:2].copy()
    subject.engine.infer(subject.images[2:4])
    assert np.array_equal(first, kept)
    assert np.array_equal(subject.images[:2], given)
    first[:] = 0


def views_of_arrays_are_taken(subject: Subject) -> None:
    strided = np.repeat(subject.images, 2, axis=0)[::2]
    frozen = subject.images.copy()
    frozen.flags.writeable = False
    for images in (strided, frozen):
        assert np.array_equal(subject.engine.infer(images), subject.engine.infer(subject.images))


def other_inputs_are_refused(subject: Subject) -> None:
    for wrong in WRONG:
        with pytest.raises(EngineError, match="expected uint8"):
            subject.engine.infer(wrong)
    assert np.isfinite(subject.engine.infer(subject.images[:1])).all()


def extreme_films_are_finite(subject: Subject) -> None:
    shape = (1, *subject.images.shape[1:])
    noise = np.random.default_rng(0).integers(0, 256, shape).astype(np.uint8)
    for image in (np.zeros(shape, np.uint8), np.full(shape, 255, np.uint8), noise):
        assert np.isfinite(subject.engine.infer(image)).all()


def one_may_close_and_another_open(subject: Subject) -> None:
    other = subject.again()
    other.warm_up()
    logits = other.infer(subject.images)
    other.close()
    assert np.abs(logits - subject.engine.infer(subject.images)).max() <= subject.steadiness


CHECKS: tuple[Callable[[Subject], None], ...] = (
    spec_is_complete,
    any_batch_gives_each_film_its_logits,
    order_does_not_matter,
    same_input_same_logits,
    reference_agrees,
    threads_share_it,
    answers_are_the_callers,
    views_of_arrays_are_taken,
    other_inputs_are_refused,
    extreme_films_are_finite,
    one_may_close_and_another_open,
)
