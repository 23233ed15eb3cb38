"""Who may push by web: the table of peers, and what is on record of who may not."""

import ssl
from collections.abc import Callable
from dataclasses import dataclass
from ipaddress import ip_network
from pathlib import Path
from threading import Event
from typing import Any

import httpx
import pytest
from sqlalchemy import Engine, select

from dicom_gateway.peers import Peer, Policy, Right
from dicom_gateway.spool import Spool
from dicom_gateway.tls import Clients, TlsOptions, server_tls
from tests.certificates import Authority
from tests.integration.http_push.conftest import Site
from tests.phantoms import chest_pixels, write_film
from tests.services import wait_until
from tests.stow import RELATED, payload
from worker.db.session import reading
from worker.db.tables import audit_event, instance
from worker.http_push.admission import Admission as PushAdmission
from worker.peers import table
from worker.processes.admission import Admission, Strangers
from worker.receiving import refused_films
from worker.receiving.ingest import ingest
from worker.receiving.refusals import Refusals

HERE = ip_network("127.0.0.1")
STRANGERS = Strangers(per_minute=600, objects=1, size=1 << 30)
NOBODY_SHOWS_ONE = PushAdmission(tokens=[], certified=False)


@dataclass(kw_only=True)
class Door:
    """A site as the gateway puts it together, and what it turned away."""

    database: Engine
    spool: Spool
    start: Callable[..., Site]
    refusals: Refusals

    def open(self, policy: Policy | None = None, **options: Any) -> Site:
        admission = Admission(
            self.database, policy, strangers=STRANGERS, own_title="OWN", stop=Event(), slowed=lambda *_: None
        )

        def accept(arrived: Any) -> None:
            with admission.taking(arrived) as unknown:
                ingest(self.database, self.spool, arrived, unknown=unknown)

        chosen = {"admission": NOBODY_SHOWS_ONE, "standing": admission, "observer": self.refusals} | options
        return self.start(accept, **chosen)

    def on_record(self) -> list[dict[str, Any]]:
        self.refusals.write(self.database)
        with reading(self.database) as connection:
            query = select(audit_event.c.actor, audit_event.c.detail).where(audit_event.c.action == "not_associated")
            return [{"actor": actor} | detail for actor, detail in connection.execute(query.order_by(audit_event.c.id))]

    def states(self) -> list[str]:
        with reading(self.database) as connection:
            return list(connection.execute(select(instance.c.state).order_by(instance.c.id)).scalars())


@pytest.fixture
def door(database: Engine, spool: Spool, start: Callable[..., Site]) -> Door:
    return Door(database=database, spool=spool, start=start, refusals=Refusals())


def push(site: Site, *films: Path) -> httpx.Response:
    headers = {"Content-Type": RELATED}
    return httpx.post(site.url, content=payload(films), headers=headers, timeout=60, trust_env=False)


def test_the_table_of_peers_counts_by_web_too(door: Door, tmp_path: Path) -> None:
    films = [write_film(tmp_path, name, pixels=chest_pixels(64, 48)) for name in ("one", "two", "three")]
    assert push(door.open(Policy.REJECT), films[0]).status_code == 403
    assert push(door.open(admission=PushAdmission(tokens=[], certified=False, calling_aes=("CR1",)))).status_code == 403
    site = door.open(Policy.QUARANTINE)
    assert push(site, films[0]).status_code == 200
    full = push(site, films[1])
    assert (full.status_code, full.headers["retry-after"]) == (503, "30")
    table.add(door.database, [Peer(calling_ae="STOW", networks=(HERE,))], actor="operator:test")
    assert push(door.open(Policy.REJECT), films[2]).status_code == 200
    echo = Peer(calling_ae="STOW", networks=(HERE,), rights=frozenset({Right.ECHO}))
    table.add(door.database, [echo], actor="operator:test", replace=True)
    assert push(door.open(), films[2]).status_code == 403
    assert door.states() == ["quarantined", "received"]
    at = {"addresses": {"127.0.0.1": 1}}
    assert door.on_record() == [
        {"actor": "(no AE title given)", "reasons": {"NOT_PROVEN": 1}} | at,
        {"actor": "STOW", "reasons": {"NO_RIGHT": 1, "UNKNOWN_AE": 1}, "addresses": {"127.0.0.1": 2}},
    ]
    uid = full.json()["00081198"]["Value"][0]["00081155"]["Value"][0]
    with reading(door.database) as connection:
        (refused,) = refused_films.among(connection, [uid]).values()
    assert (refused.calling_ae, refused.status) == ("STOW", 0xA704)


def test_a_handshake_that_fails_is_on_record(door: Door, tmp_path: Path) -> None:
    authority, other = Authority(folder=tmp_path), Authority(folder=tmp_path, name="strange")
    own, strange = authority.issue("own"), other.issue("cr1")
    options = TlsOptions(
        certificate=own.certificate, key=own.key, authorities=authority.file, clients=Clients.CERTIFIED
    )
    site = door.open(tls=server_tls(options), admission=PushAdmission(tokens=[], certified=True))
    context = ssl.create_default_context(cafile=authority.file)
    context.load_cert_chain(strange.certificate, strange.key)
    with pytest.raises(httpx.TransportError):
        httpx.post(site.url.replace("http://", "https://"), verify=context, timeout=20, trust_env=False)
    found: list[dict[str, Any]] = []
    wait_until(lambda: bool(found.extend(door.on_record()) or found), 10, "the record")
    who = {"actor": "(no AE title given)", "reasons": {"NO_TLS": 1}, "addresses": {"127.0.0.1": 1}}
    assert found[:1] == [who]
