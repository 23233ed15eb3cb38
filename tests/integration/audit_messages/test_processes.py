"""Gateway and relay as real processes: what a repository gets of a day, and what a person is told."""

import json
from collections import Counter
from pathlib import Path

import pytest
from lxml import etree
from pydicom.uid import ExplicitVRLittleEndian

from dicom_gateway.errors import Rejected
from dicom_gateway.scu import echo, send
from tests.audit_repository import AuditRepository, valid, xml_of
from tests.certificates import Authority
from tests.integration.audit_messages.conftest import SMALL
from tests.phantoms import write_film
from tests.services import environment, free_port, listening, process, typed_in, wait_until
from worker.processes.redis_server import RedisServer


@pytest.mark.slow
def test_what_a_repository_gets_of_a_day(
    repository: AuditRepository, authority: Authority, redis_server: RedisServer, tmp_path: Path
) -> None:
    own, port = authority.issue("xrayq"), free_port()
    settings = {
        "home": str(tmp_path / "home"),
        "port": str(port),
        "calling_aes": "CR1",
        "redis_url": redis_server.url,
        "site": "St. Elsewhere",
        "audit_to": f"syslog-tls://127.0.0.1:{repository.port}",
        "tls_certificate": str(own.certificate),
        "tls_key": str(own.key),
        "tls_authorities": str(authority.file),
    }
    env, log = environment(**settings), tmp_path / "log"
    with typed_in(tmp_path, **settings) as xrayq:
        assert xrayq("db", "upgrade")[0] == 0
        with process("relay", env, log):
            with process("gateway", env, log):
                wait_until(lambda: listening(port), 60, "the gateway")
                films = [
                    write_film(tmp_path, name, pixels=SMALL, syntax=ExplicitVRLittleEndian, StudyInstanceUID="1.2.3")
                    for name in ("a", "b")
                ]
                answers = send("127.0.0.1", port, films, called_ae="XRAYQ", calling_ae="CR1")
                assert [answer.status for answer in answers] == [0, 0]
                for _ in range(20):
                    with pytest.raises(Rejected):
                        echo("127.0.0.1", port, called_ae="XRAYQ", calling_ae="STRANGER")
            wait_until(lambda: repository.events().count("Application Activity") >= 3, 60, "the gateway's end")
            wanted = {"Application Activity": 3, "DICOM Instances Transferred": 1, "Security Alert": 1}
            assert Counter(repository.events()) == wanted
            assert all(valid(etree.tostring(xml_of(message))) for message in repository.came)
            (alert,) = [xml_of(message) for message in repository.came if b"Security Alert" in message]
            assert alert.xpath("//@ParticipantObjectID") == ["127.0.0.1"]
            (came,) = [xml_of(message) for message in repository.came if b"Transferred" in message]
            assert came.xpath("//SOPClass/@NumberOfInstances") == ["2"]
            code, out, _ = xrayq("audit", "messages")
            assert (code, "0 audit events waiting" in out) == (0, True), out
        assert "can be reached; 1 audit event" in xrayq("doctor")[1], "the relay's own end"
        code, out, _ = xrayq("audit", "messages", "--preview", "1")
        assert (code, valid(out)) == (0, True)
        assert json.loads(xrayq("audit", "messages", "--json")[1])["standing"]["waiting"] == 1
