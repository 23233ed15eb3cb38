"""How often somebody may try a password. In memory: a new process begins anew, and so does who waits.

One address may fail a few times for one name, more often for all names, and one name more often from all addresses.
The last does not count where that name signed in before: so that nobody locks a colleague out from his own desk.
"""

import threading
from collections import OrderedDict, deque
from ipaddress import IPv6Address, ip_address, ip_network

WINDOW = 300.0
"""Seconds."""
OF_PAIR, OF_ADDRESS, OF_NAME = 5, 30, 60
"""Attempts within the window."""
MOST_KEPT = 20_000


class Attempts:
    """Each attempt counts when it begins; a right password takes those of its name at its address away."""

    def __init__(self) -> None:
        self._times: OrderedDict[tuple[str, str], deque[float]] = OrderedDict()
        self._desks: OrderedDict[tuple[str, str], None] = OrderedDict()
        """Names and addresses of right passwords."""
        self._lock = threading.Lock()

    def wait(self, name: str, address: str, now: float) -> float:
        """Seconds to wait; 0: the attempt may be made, and is counted.

        Args:
            now: of a clock that never goes back.
        """
        pair, of_address, of_name = _limits(name, address)
        with self._lock:
            limits = (pair, of_address) if pair[0] in self._desks else (pair, of_address, of_name)
            waits = [self._times[key][-most] + WINDOW - now for key, most in limits if self._over(key, most, now)]
            if waits:
                return max(waits)
            for key, most in limits:
                self._times.setdefault(key, deque(maxlen=most)).append(now)
                self._times.move_to_end(key)
            while len(self._times) > MOST_KEPT:
                self._times.popitem(last=False)
        return 0.0

    def right(self, name: str, address: str) -> None:
        (pair, _), *others = _limits(name, address)
        with self._lock:
            ours = self._times.pop(pair, ())
            for key, most in others:
                if left := [time for time in self._times.pop(key, ()) if time not in ours]:
                    self._times[key] = deque(left, maxlen=most)
            self._desks[pair] = None
            self._desks.move_to_end(pair)
            if len(self._desks) > MOST_KEPT:
                self._desks.popitem(last=False)

    def _over(self, key: tuple[str, str], most: int, now: float) -> bool:
        times = self._times.get(key, ())
        return len(times) >= most and times[-most] + WINDOW > now


def _limits(name: str, address: str) -> tuple[tuple[tuple[str, str], int], ...]:
    where = _network(address)
    return ((name, where), OF_PAIR), (("", where), OF_ADDRESS), ((name, ""), OF_NAME)


def _network(address: str) -> str:
    """Who has one IPv6 address has the 2^64 beside it."""
    try:
        found = ip_address(address)
    except ValueError:
        return address
    return str(ip_network((found, 64), strict=False)) if isinstance(found, IPv6Address) else address
