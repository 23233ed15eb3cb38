"""Views of the worklist as they were last shown, until something changes."""

import threading
from collections import OrderedDict
from collections.abc import Hashable

from worker.web.worklist_films import WorklistPage

KEPT_VIEWS = 64


class Views:
    """Fifty browsers with one view ask the database once."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._kept: OrderedDict[Hashable, WorklistPage] = OrderedDict()

    def get(self, key: Hashable) -> WorklistPage | None:
        with self._lock:
            return self._kept.get(key)

    def put(self, key: Hashable, page: WorklistPage) -> None:
        with self._lock:
            self._kept[key] = page
            while len(self._kept) > KEPT_VIEWS:
                self._kept.popitem(last=False)
