"""Errors of the model package, one tree.

    ModelError
    ├── BundleError             a bundle is not whole, or of another schema
    ├── EngineError             an engine does not open or run, or gives no score
    │   ├── NoGpuError
    │   └── OutOfMemoryError
    ├── ParityError             a faster variant disagrees with its reference
    ├── DatasetError            a training data set breaks a rule
    └── StatisticsError         no statistic can be made of these numbers

Only these cross the border of the package: errors of ONNX Runtime, torch and TensorRT become EngineError.
"""


class ModelError(Exception):
    """Base of every error this package raises on purpose."""


class BundleError(ModelError):
    """A bundle is missing, incomplete, altered or of a schema this version cannot read."""


class EngineError(ModelError):
    """An engine cannot load its bundle, or answered with something that is not a score."""


class NoGpuError(EngineError):
    """No CUDA device can be used, or no driver or cuda-python is there to ask."""


class OutOfMemoryError(EngineError):
    """The GPU has no memory left for this."""


class ParityError(ModelError):
    """A faster variant of a network disagrees with its reference by more than allowed."""


class DatasetError(ModelError):
    """A training data set breaks a rule (missing file, patient in two splits, unknown class)."""


class StatisticsError(ModelError):
    """No statistic can be made of these numbers: one is not finite, or there are not as many of each."""


def first_line(error: BaseException) -> str:
    """Another library's message without its details; it may be empty."""
    return str(error).partition("\n")[0]
