"""Views of the worklist as they were last shown, in HTML, until something changes."""

import threading
from collections import OrderedDict
from collections.abc import Callable, Hashable

KEPT_VIEWS = 64


class Views:
    """Fifty browsers with one view ask the database once."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._kept: OrderedDict[Hashable, str] = OrderedDict()

    def get(self, key: Hashable, make: Callable[[], str]) -> str:
        """Made by one thread at a time; who waits for it finds it made. Raises what `make` raises."""
        with self._lock:
            page = self._kept.get(key)
            if page is None:
                page = self._kept[key] = make()
                while len(self._kept) > KEPT_VIEWS:
                    self._kept.popitem(last=False)
            return page
