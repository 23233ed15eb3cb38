"""A trail that goes to a repository."""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import timedelta
from pathlib import Path

import pytest
from sqlalchemy import Engine, update

from dicom_gateway.local import store_file
from dicom_gateway.options import Received
from dicom_gateway.peers import Connected
from dicom_gateway.spool import Spool
from dicom_gateway.tls import ClientOptions, client_tls
from tests.audit_repository import AuditRepository, audit_repository
from tests.certificates import Authority
from tests.phantoms import chest_pixels, write_film
from worker.audit import trail
from worker.audit.actions import Action
from worker.audit_messages import feed
from worker.audit_messages.feed import FeedOptions, Standing
from worker.audit_messages.message import Source
from worker.audit_messages.patients import withheld
from worker.audit_messages.transport import Repository, TlsRepository
from worker.db.session import reading, time_of, writing
from worker.db.tables import audit_feed
from worker.receiving.ingest import ingest

OPTIONS = FeedOptions(source=Source(name="relay1.example", site="St. Elsewhere"), patient_of=withheld, gather_seconds=0)
SMALL = chest_pixels(64, 48)


@dataclass(kw_only=True)
class Site:
    database: Engine
    spool: Spool
    folder: Path
    to: Repository
    options: FeedOptions = OPTIONS

    def film(self, name: str, *, study: str = "1.2.3", peer: str = "10.0.0.7", **attributes: object) -> int:
        path = write_film(
            self.folder,
            name,
            pixels=SMALL,
            StudyInstanceUID=study,
            SOPInstanceUID=f"{study}.1.{len(name)}",
            **attributes,
        )
        stored = store_file(path, self.spool, "XRAYQ", keep_other_objects=False)
        assert isinstance(stored, Received)
        sent_by = Connected(calling_ae="CR1", address=peer)
        _, instance_id = ingest(self.database, self.spool, replace(stored, calling_ae="CR1", sent_by=sent_by))
        return instance_id

    def record(self, action: Action, detail: dict[str, object], actor: str = "gateway") -> None:
        with writing(self.database) as connection:
            trail.record(connection, action=action, instance_id=None, actor=actor, detail=detail)

    def send(self) -> int:
        return feed.send_due(self.database, self.to, self.options)

    def later(self) -> None:
        """Its next attempt is due, and whoever holds a lease has lost it."""
        now = time_of(self.database) - timedelta(seconds=1)
        with writing(self.database) as connection:
            connection.execute(update(audit_feed).values(next_attempt_at=now, lease_until=None))

    def stands(self) -> Standing:
        with reading(self.database) as connection:
            found = feed.standing(connection)
        assert found
        return found


@pytest.fixture
def authority(tmp_path: Path) -> Authority:
    return Authority(folder=tmp_path)


@pytest.fixture
def repository(authority: Authority) -> Iterator[AuditRepository]:
    with audit_repository(authority) as found:
        yield found


def tls_to(port: int, authority: Authority, *, certified: bool = True, seconds: float = 20.0) -> TlsRepository:
    own = authority.issue("xrayq")
    options = ClientOptions(
        authorities=authority.file,
        certificate=own.certificate if certified else None,
        key=own.key if certified else None,
    )
    return TlsRepository(host="127.0.0.1", port=port, context=client_tls(options).context, seconds=seconds)


@pytest.fixture
def site(database: Engine, spool: Spool, tmp_path: Path, repository: AuditRepository, authority: Authority) -> Site:
    with writing(database) as connection:
        feed.begin(connection)
    return Site(database=database, spool=spool, folder=tmp_path, to=tls_to(repository.port, authority))
