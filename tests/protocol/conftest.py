"""A gateway in this process, on a free port, for clients over real sockets."""

import os
import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from dicom_gateway.options import GatewayOptions, Received
from dicom_gateway.scp import Gateway
from dicom_gateway.spool import Spool


@dataclass(kw_only=True)
class Node:
    gateway: Gateway
    spool: Spool
    accepted: list[Received]

    @property
    def port(self) -> int:
        return self.gateway.port

    def files(self) -> list[Path]:
        """Everything in the spool, whole or not."""
        return [path for path in self.spool.root.rglob("*") if path.is_file()]


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Callable[..., Node]]:
    """Starts gateways with short time-outs; keyword arguments are GatewayOptions."""
    nodes: list[Node] = []

    def start_node(
        *, accept: Callable[[Received], None] | None = None, spool: Spool | None = None, **options: Any
    ) -> Node:
        spool = spool or Spool(tmp_path / f"spool{len(nodes)}", reserve_bytes=0)
        spool.prepare()
        accepted: list[Received] = []
        timeouts = {"association_timeout": 1.0, "network_timeout": 1.0, "idle_timeout": 60.0}
        gateway = Gateway(
            GatewayOptions(host="127.0.0.1", port=0, **(timeouts | options)), spool, accept or accepted.append
        )
        gateway.start()
        nodes.append(Node(gateway=gateway, spool=spool, accepted=accepted))
        return nodes[-1]

    yield start_node
    for node in nodes:
        node.gateway.stop(grace=0)


@pytest.fixture
def node(start: Callable[..., Node]) -> Node:
    return start()


@pytest.fixture(scope="session")
def dcmtk() -> Callable[[str], str]:
    """The path of a DCMTK program. Without it the test is skipped, or fails where services are required."""

    def find(program: str) -> str:
        path = shutil.which(program)
        if path is None and os.environ.get("XRAYQ_REQUIRE_SERVICES") == "1":
            pytest.fail(f"DCMTK's {program} is required and not installed")
        if path is None:
            pytest.skip(f"DCMTK's {program} is not installed")
        return path

    return find
