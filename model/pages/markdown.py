"""Tables and paragraphs of the pages in Markdown."""

from collections.abc import Iterable, Sequence
from textwrap import wrap

from model.pages.texts import estimate_text
from model.stats.estimate import Estimate, Proportion

WIDTH = 120


def table(columns: Sequence[str], rows: Iterable[Sequence[object]]) -> Iterable[str]:
    yield f"| {' | '.join(columns)} |"
    yield "|" + "---|" * len(columns)
    yield from (f"| {' | '.join(map(str, row))} |" for row in rows)


def paragraph(text: str) -> list[str]:
    """One paragraph in lines of WIDTH, with an empty line after it."""
    return [*wrap(" ".join(text.split()), WIDTH, break_long_words=False, break_on_hyphens=False), ""]


def bullets(texts: Iterable[str]) -> Iterable[str]:
    for text in texts:
        yield from wrap(
            " ".join(text.split()),
            WIDTH,
            initial_indent="- ",
            subsequent_indent="  ",
            break_long_words=False,
            break_on_hyphens=False,
        )


def cell(estimate: Estimate | None, digits: int = 2) -> str:
    """As a table has what is not known."""
    return "-" if estimate is None or estimate.value is None else estimate_text(estimate, digits)


def share(estimate: Proportion) -> str:
    """With the number of films."""
    return f"{cell(estimate)} ({estimate.n})"


def counts_text(counts: dict[str, int]) -> str:
    """nih 104, ieee8023 21: the most first."""
    return ", ".join(f"{name} {count}" for name, count in sorted(counts.items(), key=lambda one: (-one[1], one[0])))
