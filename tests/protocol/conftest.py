"""A gateway in this process, on a free port, for clients over real sockets."""

import resource
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from dicom_gateway.commitment import CommitmentReport
from dicom_gateway.committing import Keep
from dicom_gateway.observer import Observer
from dicom_gateway.options import GatewayOptions
from dicom_gateway.peers import Connected, Standing
from dicom_gateway.scp import Gateway
from dicom_gateway.spool import Spool
from tests.services import wait_until


@dataclass(kw_only=True)
class Node:
    gateway: Gateway
    spool: Spool
    accepted: list[Any]

    @property
    def port(self) -> int:
        return self.gateway.port

    def files(self) -> list[Path]:
        """Everything in the spool, whole or not."""
        return [path for path in self.spool.root.rglob("*") if path.is_file()]


@pytest.fixture(scope="session")
def spool_root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One prepared spool for all tests: its 257 folders cost more than most tests."""
    root = tmp_path_factory.mktemp("spool")
    Spool(root).prepare()
    return root


@pytest.fixture
def start(spool_root: Path) -> Iterator[Callable[..., Node]]:
    """Starts gateways with short time-outs; keyword arguments are GatewayOptions."""
    nodes: list[Node] = []

    def start_node(
        *,
        accept: Callable[[Any], None] | None = None,
        spool: Spool | None = None,
        observer: Observer | None = None,
        committed: Callable[[CommitmentReport, str], None] | None = None,
        asked: Keep | None = None,
        standing: Callable[[Connected], Standing] | None = None,
        **options: Any,
    ) -> Node:
        if spool is not None:
            spool.prepare()
        accepted: list[Any] = []
        patience = {"association_timeout": 1.0, "network_timeout": 1.0, "idle_timeout": 60.0}
        chosen = GatewayOptions(**({"host": "127.0.0.1", "port": 0} | patience | options))
        spool = spool or Spool(spool_root, reserve_bytes=0)
        gateway = Gateway(
            chosen,
            spool,
            accept or accepted.append,
            observer,
            committed=committed,
            asked=asked,
            standing=standing,
        )
        gateway.start()
        nodes.append(Node(gateway=gateway, spool=spool, accepted=accepted))
        return nodes[-1]

    yield start_node
    for node in nodes:
        node.gateway.stop(grace=0)
    wait_until(lambda: not list(spool_root.glob("incoming/*")), 10, "unfinished films to go")
    for path in spool_root.glob("*/*.dcm"):
        path.unlink()


@pytest.fixture
def node(start: Callable[..., Node]) -> Node:
    return start()


@pytest.fixture
def many_files() -> Iterator[None]:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = 3000
    if hard != resource.RLIM_INFINITY and hard < wanted:
        pytest.skip(f"only {hard} file descriptors allowed")
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, wanted), hard))
    yield
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
