"""A crowd of bad peers: others are served meanwhile, and nothing of it stays."""

import gc
import resource
from collections.abc import Iterator

import pytest

from dicom_gateway.association import Association
from tests.benchmarks import hostile
from tests.protocol.conftest import Node
from tests.protocol.raw import Peer
from tests.services import wait_until


@pytest.fixture
def many_descriptors() -> Iterator[None]:
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (before[1], before[1]))
    yield
    resource.setrlimit(resource.RLIMIT_NOFILE, before)


@pytest.mark.slow
@pytest.mark.usefixtures("many_descriptors")
def test_bad_peers_cost_the_others_nothing_and_leave_nothing() -> None:
    with hostile.started() as target:
        first, *_, last = [hostile.measure(target, hostile.Load.everything, 500) for _ in range(4)]
    assert max(first.waits.maximum, last.waits.maximum) < 2000, "ms of a C-ECHO meanwhile"
    assert last.after.descriptors <= first.before.descriptors
    assert last.after.threads <= first.before.threads
    assert last.during.megabytes < 1.1 * first.during.megabytes, "the fourth crowd takes the memory of the first"
    base = first.before.megabytes
    assert last.after.megabytes - base < (last.during.megabytes - base) / 2, "and gives most of it back"


def test_an_association_that_is_over_is_freed_at_once(node: Node) -> None:
    """It takes 130 KB, with TLS 290 KB, and the garbage collector, which does not see its buffers, comes late."""
    gc.collect()
    gc.disable()
    try:
        with Peer(node.port) as peer:
            peer.associate()
            assert associations() == 1
        wait_until(lambda: associations() == 0, 5, "the association to be freed")
    finally:
        gc.enable()


def associations() -> int:
    return sum(isinstance(one, Association) for one in gc.get_objects())
