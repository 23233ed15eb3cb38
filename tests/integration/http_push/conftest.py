"""Pushes by web into a real ledger: the server in this process, on a free port, for clients over real sockets."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Engine

from dicom_gateway.observer import Observer
from dicom_gateway.options import Received
from dicom_gateway.other_objects import OtherObject
from dicom_gateway.spool import Spool
from dicom_gateway.tls import Followed
from worker.bearer import NamedToken
from worker.http_push.admission import Admission
from worker.http_push.app import PushApp
from worker.http_push.request_body import Intake
from worker.http_push.server import PushServer
from worker.receiving import other_objects
from worker.receiving.ingest import ingest

TOKEN = "a-token-of-the-router"
ROUTER = NamedToken(name="ROUTER", token=TOKEN)
SHOWN = {"Authorization": f"Bearer {TOKEN}"}


@dataclass(kw_only=True)
class Site:
    server: PushServer
    spool: Spool
    answers: list[tuple[str, int]] = field(default_factory=list)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server.port}/studies"

    def files(self) -> list[Path]:
        """Everything in the spool, whole or not."""
        return [path for path in self.spool.root.rglob("*") if path.is_file()]


@pytest.fixture
def start(spool: Spool) -> Iterator[Callable[..., Site]]:
    sites: list[Site] = []

    def start_site(
        accept: Callable[[Received | OtherObject], None],
        *,
        spool: Spool = spool,
        admission: Admission | None = None,
        tls: Followed | None = None,
        silence: float = 30.0,
        observer: Observer | None = None,
        **peers: Any,
    ) -> Site:
        answers: list[tuple[str, int]] = []
        intake = Intake(
            spool=spool,
            accept=accept,
            observer=observer or Observer(),
            called_ae="XRAYQ",
            keep_other_objects=False,
        )
        app = PushApp(
            intake,
            admission or Admission(tokens=[ROUTER], certified=False),
            silence=silence,
            answered=lambda caller, status: answers.append((caller, status)),
            **peers,
        )
        server = PushServer("127.0.0.1", 0, app, tls=tls)
        server.start()
        sites.append(Site(server=server, spool=spool, answers=answers))
        return sites[-1]

    yield start_site
    for site in sites:
        site.server.stop(grace=1)


@pytest.fixture
def site(database: Engine, spool: Spool, start: Callable[..., Site]) -> Site:
    """Whose films end in the ledger."""

    def accept(arrived: Received | OtherObject) -> None:
        if isinstance(arrived, Received):
            ingest(database, spool, arrived)
        else:
            other_objects.record(database, arrived)

    return start(accept)
