"""The labels the network predicts, in the paper's order: its classes 0, 1 and 2."""

from collections.abc import Iterable

FINDINGS = ("normal", "pneumonia", "covid19")
REPORT_MINED = ("nih_report_nlp",)
"""Label bases that are no one's reading of the film, but words found in its report."""


def in_order(findings: Iterable[str]) -> list[str]:
    """Sorted as in FINDINGS; others after them, by name."""
    rank = {name: index for index, name in enumerate(FINDINGS)}
    return sorted(findings, key=lambda name: (rank.get(name, len(rank)), name))


SPOKEN = {"normal": "normal", "pneumonia": "pneumonia", "covid19": "COVID-19"}
