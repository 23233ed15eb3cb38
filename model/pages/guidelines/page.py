"""GUIDELINES.md: `python -m model.pages.guidelines.page > model/GUIDELINES.md`. A test keeps the two together, and asks
whether every page and heading that an item names is there."""

import sys
from collections.abc import Iterable

from model.pages.guidelines.claim import CLAIM
from model.pages.guidelines.decide_ai import DECIDE_AI
from model.pages.guidelines.item import STATUSES, Guideline, Item
from model.pages.guidelines.mi_claim import MI_CLAIM
from model.pages.guidelines.tripod_ai import TRIPOD_AI
from model.pages.markdown import paragraph, table

GUIDELINES = (TRIPOD_AI, CLAIM, MI_CLAIM, DECIDE_AI)


def page() -> str:
    lines = ["# Reporting guidelines, item by item", "", "**Research software. Not a medical device.**", ""]
    lines += paragraph(
        "For the network that comes with xrayq and [its card](CARD.md). The numbers are the guidelines' own; the words "
        "are ours and shorter, so read a guideline itself before you judge. Met: all that the item asks for is written "
        "at the place named, which does not make it a good answer. Partly: some of it is missing, as said. Nobody but "
        "its makers has filled this in."
    )
    counts = [[one.name, len(one.items), *one.counts().values()] for one in GUIDELINES]
    lines += [*table(["", "items and their parts", *STATUSES], counts), ""]
    for guideline in GUIDELINES:
        lines += [*_guideline(guideline), ""]
    return "\n".join(lines[:-1]) + "\n"


def _guideline(guideline: Guideline) -> Iterable[str]:
    yield from [f"## {guideline.name}", "", *paragraph(f"{guideline.source}. {guideline.about}")]
    rows = ([item.number, item.subject, f"**{item.status}**", _said(item)] for item in guideline.items)
    yield from table(["item", "asks for", "", "where, or why not"], rows)


def _said(item: Item) -> str:
    links = ", ".join(f"[{_title(target)}]({target})" for target in item.where)
    return ": ".join(part for part in (item.why, links) if part)


def _title(target: str) -> str:
    """CARD.md#in-int8 -> CARD.md, in int8"""
    name, _, heading = target.partition("#")
    return name.removeprefix("../") + (f", {heading.replace('-', ' ')}" if heading else "")


if __name__ == "__main__":
    sys.stdout.write(page())
