"""Errors of the model package, one tree."""


class ModelError(Exception):
    """Base of every error this package raises on purpose."""


class BundleError(ModelError):
    """A bundle is missing, incomplete, altered or of a schema this version cannot read."""


class EngineError(ModelError):
    """An engine cannot load its bundle, or answered with something that is not a score."""


class ParityError(ModelError):
    """A faster variant of a network disagrees with its reference by more than allowed."""


class DatasetError(ModelError):
    """A training data set breaks a rule (missing file, patient in two splits, unknown class)."""


def first_line(error: BaseException) -> str:
    """Another library's message without its details; it may be empty."""
    return str(error).partition("\n")[0]
