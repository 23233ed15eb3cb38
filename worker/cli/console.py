"""A console and tables for text that others wrote: an AE title, a view, a reason are shown as they are."""

from collections.abc import Collection, Iterable, Sequence
from typing import Any

from rich.box import SIMPLE_HEAD
from rich.cells import cell_len
from rich.console import Console
from rich.table import Table
from rich.text import Text

from worker.words import printable

LEAST_FOLDED = 24
"""Columns below which a sentence is no longer read well when it is folded."""
PADDING = 3
"""Characters beside a column: a space on each side, and one to the next."""


class PlainConsole(Console):
    """Takes no string for markup, an emoji or an order to the terminal, in tables neither. Styles come as rich Text."""

    def __init__(self, **options: Any) -> None:
        super().__init__(markup=False, emoji=False, highlight=False, **options)

    def render_str(self, text: str, **options: Any) -> Text:
        return super().render_str(printable(text), **options)


def print_rows(
    console: Console,
    headings: Sequence[str],
    rows: Iterable[Sequence[str | Text]],
    *,
    folds: Collection[str] = (),
    drops: Sequence[str] = (),
) -> None:
    """A table where it fits, else a block of lines for each row.

    Args:
        folds: headings of columns that may take several lines; all others stay on one.
        drops: headings of columns that are left out where there is no room, the first one first; a line says which.
    """
    kept, cells = list(range(len(headings))), list(rows)
    if not cells:
        return
    least = [_least([headings[at], *(row[at] for row in cells)], headings[at] in folds) for at in kept]
    left_out = []
    for name in drops:
        if _width(least, kept) > console.width:
            kept.remove(headings.index(name))
            left_out.append(name)
    if _width(least, kept) > console.width:
        _print_blocks(console, headings, cells)
        return
    table = Table(header_style="bold", box=SIMPLE_HEAD)
    for at in kept:
        table.add_column(headings[at], no_wrap=headings[at] not in folds, min_width=least[at], overflow="fold")
    for row in cells:
        table.add_row(*(row[at] for at in kept))
    console.print(table)
    if left_out:
        console.print(f"Not shown for want of room: {', '.join(left_out)}. --json has all.", style="dim")


def _least(cells: Sequence[str | Text], folds: bool) -> int:
    widest = max(cell_len(str(cell)) for cell in cells)
    return min(widest, LEAST_FOLDED) if folds else widest


def _width(least: Sequence[int], kept: Sequence[int]) -> int:
    return sum(least[at] + PADDING for at in kept) + 1


def _print_blocks(console: Console, headings: Sequence[str], rows: Sequence[Sequence[str | Text]]) -> None:
    label = max(map(cell_len, headings))
    for row in rows:
        block = Table.grid(padding=(0, 2))
        block.add_column(style="bold", min_width=label, no_wrap=True)
        block.add_column(overflow="fold")
        for heading, cell in zip(headings, row, strict=True):
            block.add_row(heading, cell)
        console.print(block)
        console.print()
