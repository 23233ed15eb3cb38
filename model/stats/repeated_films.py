"""Films of the same patients: what is said where exact intervals, which take films as independent, are too narrow."""

from collections.abc import Iterable

MANY = 1.1
"""Films for each patient, beyond which it is said."""


def independence_note(counts: Iterable[tuple[int, int | None]]) -> str:
    """A sentence with the worst of these, "" where none has many films for each patient.

    Args:
        counts: films and their patients; None where nobody counted.
    """
    many = [(films, patients) for films, patients in counts if patients and films > MANY * patients]
    if not many:
        return ""
    films, patients = max(many, key=lambda pair: (pair[0] / pair[1], pair[0]))
    return (
        f"Exact intervals take films as independent, and some patients have several ({films} films of {patients} "
        "patients): they are too narrow."
    )


def patient_note(films: int) -> str:
    """Of films that name no patient."""
    return f"{films} films name no patient and are counted as a patient each"
