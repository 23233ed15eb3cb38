"""Results go out over TLS, and are asked after over TLS; a PACS that is not who it should be gets none."""

from dataclasses import replace
from pathlib import Path

import pytest
from sqlalchemy import select

from dicom_gateway.tls import ClientOptions, client_tls
from tests.certificates import Authority
from tests.integration.reporting.site import OPTIONS, Site
from tests.mllp import ris
from tests.pacs import pacs
from tests.services import free_port
from worker.audit.actions import Action
from worker.db.session import reading
from worker.db.tables import audit_event


@pytest.fixture
def authority(tmp_path: Path) -> Authority:
    return Authority(folder=tmp_path)


@pytest.fixture
def secure(site: Site, authority: Authority) -> Site:
    """Its PACS is reached over TLS."""
    (there,) = site.destinations
    settings = {"tls_authorities": authority.file}
    return replace(site, routes=(f"CR1:tls:PACS@127.0.0.1:{there.port}",), settings=settings)


def test_a_result_is_sent_and_confirmed_over_tls(secure: Site, authority: Authority) -> None:
    own = authority.issue("xrayq")
    tls = client_tls(ClientOptions(authorities=authority.file, certificate=own.certificate, key=own.key))
    film = secure.film()
    (there,) = secure.destinations
    assert there.name == f"tls:PACS@127.0.0.1:{there.port}"
    with pacs(there.port, commits="same", finds=True, tls=authority.issue("pacs").as_server(authority)) as found:
        assert secure.send(confirm=True, tls=tls) == [""]
        assert len(found.kept) == 2
        confirmation = replace(
            secure.confirmation(), send=replace(OPTIONS, confirm=True, tls=tls, queries_on_record=True)
        )
        assert confirmation.ask_due(there) == ""
    assert secure.state(film) == "reported"
    with reading(secure.database) as connection:
        queries = select(audit_event.c.detail).where(audit_event.c.action == Action.QUERIED)
        (asked,) = connection.execute(queries).scalars()
    assert asked["destination"] == there.name
    assert asked["keys"]["QueryRetrieveLevel"] == "IMAGE"


@pytest.mark.parametrize(
    ("fault", "reason"),
    [
        ("foreign", "untrusted"),
        ("expired", "untrusted"),
        ("plain", "no_tls"),
        ("down", "no_connection"),
        ("it wants a certificate", "aborted"),
    ],
)
def test_without_tls_to_the_right_pacs_nothing_leaves(
    secure: Site, authority: Authority, tmp_path: Path, fault: str, reason: str
) -> None:
    foreign = Authority(folder=tmp_path, name="foreign")
    shown = {"foreign": foreign.issue("pacs"), "expired": authority.issue("old", days=-1)}
    of_pacs = shown.get(fault) or authority.issue("pacs")
    server = of_pacs.as_server(authority, asks=fault == "it wants a certificate")
    tls = client_tls(ClientOptions(authorities=authority.file))
    secure.film()
    (there,) = secure.destinations
    if fault == "down":
        assert secure.send(tls=tls) == [reason]
        return
    with pacs(there.port, commits="same", tls=None if fault == "plain" else server) as found:
        assert secure.send(tls=tls, answer_seconds=3) == [reason]
        assert found.kept == []


def test_a_certificate_must_name_the_host_that_is_called_unless_told_otherwise(
    secure: Site, authority: Authority
) -> None:
    named = authority.issue("pacs", names=("pacs.example",))
    strict = client_tls(ClientOptions(authorities=authority.file))
    loose = client_tls(ClientOptions(authorities=authority.file, check_host=False))
    secure.film()
    with pacs(secure.destinations[0].port, commits="same", tls=named.as_server(authority, asks=False)):
        assert secure.send(tls=strict) == ["untrusted"]
        secure.later()
        assert secure.send(tls=loose) == [""]


def test_a_message_is_sent_over_tls(site: Site, authority: Authority) -> None:
    own = authority.issue("xrayq")
    tls = client_tls(ClientOptions(authorities=authority.file, certificate=own.certificate, key=own.key))
    port = free_port()
    routes, settings = (f"CR1:tls:mllp://127.0.0.1:{port}",), {"tls_authorities": authority.file}
    secure = replace(site, routes=routes, settings=settings)
    film = secure.film()
    (there,) = secure.every
    assert there.name == f"tls:mllp://127.0.0.1:{port}"
    foreign = Authority(folder=authority.folder, name="foreign").issue("ris")
    with ris(port, tls=foreign.as_server(authority)) as found:
        assert secure.send(there, tls=tls) == ["untrusted"]
        assert found.came == []
    secure.later()
    with ris(port, tls=authority.issue("ris").as_server(authority)) as found:
        assert secure.send(there, tls=tls) == [""]
        assert len(found.came) == 1
    assert secure.state(film) == "reported"
