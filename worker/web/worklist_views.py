"""Views of the worklist as they were last shown, in HTML, until something changes."""

import threading
from collections import OrderedDict
from collections.abc import Callable, Hashable
from concurrent.futures import Future

from worker.errors import Busy
from worker.web.turns import Turns

KEPT_VIEWS = 64
AT_ONCE = 3
"""Views that are made: a slow one holds no other up, and most connections to the database are left to other pages."""
ASKING = 24
"""Requests that make a view or wait for one. Each has a thread, and other pages need some: `server.THREADS`."""
SECONDS = 5.0
"""For which a request waits: for its turn, or for a view that another makes."""


class Views:
    """Fifty browsers with one view ask the database once."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._views: OrderedDict[Hashable, Future[str]] = OrderedDict()
        """Made, or being made."""
        self._asking = Turns(at_once=ASKING, waiting=0, seconds=0)
        self._making = Turns(at_once=AT_ONCE, waiting=ASKING, seconds=SECONDS)

    def get(self, key: Hashable, make: Callable[[], str]) -> str:
        """Made by who asks first; others wait for it. Raises Busy, and to all of them what `make` raises."""
        with self._lock:
            view = self._views.get(key)
        if view and view.done():
            return view.result()
        with self._asking.turn():
            with self._lock:
                view = self._views.get(key)
                ours = view is None
                if view is None:
                    view = self._views[key] = Future()
                while len(self._views) > KEPT_VIEWS:
                    self._views.popitem(last=False)
            if ours:
                self._make(key, make, view)
            try:
                return view.result(timeout=SECONDS)
            except TimeoutError:
                raise Busy from None

    def _make(self, key: Hashable, make: Callable[[], str], view: Future[str]) -> None:
        try:
            with self._making.turn():
                page = make()
        except BaseException as error:  # noqa: BLE001 - whatever it is, who waits hears of it, and the next asks anew
            with self._lock:
                if self._views.get(key) is view:
                    del self._views[key]
            view.set_exception(error)
        else:
            view.set_result(page)
