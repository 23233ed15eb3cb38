"""Films in tables of the page: together by what they have in common, by instance id."""

from collections import defaultdict
from collections.abc import Iterable

from markupsafe import Markup

MOST_LISTED = 40


def grouped(films: Iterable[tuple[str, str, int]]) -> list[tuple[tuple[str, str], list[int]]]:
    """Instance ids by sender and what they have in common."""
    groups: dict[tuple[str, str], list[int]] = defaultdict(list)
    for calling_ae, common, key in films:
        groups[calling_ae, common].append(key)
    return sorted(groups.items())


def ids(keys: list[int], most: int = MOST_LISTED) -> Markup:
    """The first of them."""
    more = f" and {len(keys) - most:,} more, in report.json" if len(keys) > most else ""
    return Markup("<small>{}{}</small>").format(", ".join(map(str, keys[:most])), more)


def whole(names: str) -> Markup:
    """Without a line break inside a name."""
    return Markup(", ").join(Markup('<span class="whole">{}</span>').format(name) for name in names.split(", "))
