"""The labels a network predicts. The paper's three are the default, in its order: its classes 0, 1 and 2."""

from collections.abc import Iterable

FINDINGS = ("normal", "pneumonia", "covid19")
NOT_NORMAL = "not_normal"
"""Any finding but the negative one: a flag of its own, and no label or class."""
REPORT_MINED = ("nih_report_nlp",)
"""Label bases that are no one's reading of the film, but words found in its report."""


def negative_of(findings: Iterable[str]) -> str:
    """The finding that says that a film shows none: normal where there is one, else the first."""
    names = list(findings)
    return "normal" if "normal" in names else names[0]


def in_order(findings: Iterable[str]) -> list[str]:
    """NOT_NORMAL, then as in FINDINGS; others after them, by name."""
    rank = {name: index for index, name in enumerate((NOT_NORMAL, *FINDINGS))}
    return sorted(findings, key=lambda name: (rank.get(name, len(rank)), name))


def spoken_findings(findings: Iterable[str]) -> str:
    """For people: "not normal, COVID-19"."""
    return ", ".join(SPOKEN.get(name, name) for name in findings)


class _Spoken(dict[str, str]):
    """A finding that is not listed is spoken as it is written."""

    def __missing__(self, name: str) -> str:
        return name.replace("_", " ")


SPOKEN = _Spoken(not_normal="not normal", normal="normal", pneumonia="pneumonia", covid19="COVID-19")
