"""What is said before a backfill of a PACS begins, of whether its films would be let in."""

from ipaddress import ip_network

import pytest

from dicom_gateway.peers import Peer, Policy
from worker.backfill.before import must_be_let_in
from worker.errors import ConfigurationError
from worker.pacs.options import AskedPacs

PACS = AskedPacs(called_ae="PACS", host="127.0.0.1", port=104, tls=True)


def known_by_certificate(network: str) -> dict[str, Peer]:
    return {"PACS": Peer(calling_ae="PACS", networks=(ip_network(network),), certificate_sha256="a" * 64)}


@pytest.mark.parametrize("sends_as", ["", "PACS"])
def test_a_certificate_is_seen_once_it_sends_and_stands_in_no_ones_way(sends_as: str) -> None:
    said = must_be_let_in(known_by_certificate("127.0.0.0/8"), Policy.REJECT, PACS, sends_as, ())
    assert "certificate" in said


def test_with_a_certificate_the_address_must_be_its_own_all_the_same() -> None:
    with pytest.raises(ConfigurationError, match="would be rejected"):
        must_be_let_in(known_by_certificate("192.0.2.1/32"), Policy.REJECT, PACS, "", ())
