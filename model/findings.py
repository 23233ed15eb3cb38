"""The labels a network predicts. The paper's three are the default, in its order: its classes 0, 1 and 2."""

from collections.abc import Iterable, Sequence

FINDINGS = ("normal", "pneumonia", "covid19")
REPORT_MINED = ("nih_report_nlp",)
"""Label bases that are no one's reading of the film, but words found in its report."""


def in_order(findings: Iterable[str]) -> list[str]:
    """Sorted as in FINDINGS; others after them, by name."""
    rank = {name: index for index, name in enumerate(FINDINGS)}
    return sorted(findings, key=lambda name: (rank.get(name, len(rank)), name))


def negative_of(findings: Sequence[str]) -> str:
    """The finding that stands for nothing found: normal where there is one, else the first."""
    return "normal" if "normal" in findings else findings[0]


class _Spoken(dict[str, str]):
    """A finding that is not listed is spoken as it is written."""

    def __missing__(self, name: str) -> str:
        return name.replace("_", " ")


SPOKEN = _Spoken(normal="normal", pneumonia="pneumonia", covid19="COVID-19")
