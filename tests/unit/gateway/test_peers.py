"""How a peer stands with us: by title, address, certificate, and the policy for those who are unknown."""

from ipaddress import ip_network

import pytest

from dicom_gateway.errors import TooFast
from dicom_gateway.pace import LONGEST_WAIT, Pace
from dicom_gateway.peers import Certificate, Connected, Entry, Peer, Policy, Unknown, standing

OURS = Certificate(subject="CN=cr1", sha256="ab" * 32)
PEERS = {
    "CR1": Peer(calling_ae="CR1", networks=(ip_network("10.1.2.0/24"), ip_network("2001:db8::/64"))),
    "TLS1": Peer(calling_ae="TLS1", networks=(ip_network("10.0.0.0/8"),), certificate_subject="CN=cr1"),
    "TLS2": Peer(
        calling_ae="TLS2",
        networks=(ip_network("10.0.0.0/8"),),
        certificate_subject="CN=cr1",
        certificate_sha256="ab" * 32,
    ),
}


@pytest.mark.parametrize(
    ("title", "address", "certificate", "unknown"),
    [
        ("CR1", "10.1.2.7", None, None),
        ("CR1", "10.1.2.7", OURS, None),
        ("CR1", "::ffff:10.1.2.7", None, None),
        ("CR1", "2001:db8::7", None, None),
        ("CR1", "10.1.3.7", None, Unknown.ADDRESS),
        ("CR1", "2001:db8:0:1::7", None, Unknown.ADDRESS),
        ("CR1", "no address", None, Unknown.ADDRESS),
        ("CR2", "10.1.2.7", OURS, Unknown.AE),
        ("cr1", "10.1.2.7", None, Unknown.AE),
        ("TLS1", "10.1.2.7", OURS, None),
        ("TLS1", "10.1.2.7", None, Unknown.CERTIFICATE),
        ("TLS1", "10.1.2.7", Certificate(subject="", sha256="ab" * 32), Unknown.CERTIFICATE),
        ("TLS1", "192.0.2.1", OURS, Unknown.ADDRESS),
        ("TLS2", "10.1.2.7", OURS, None),
        ("TLS2", "10.1.2.7", Certificate(subject="CN=cr1", sha256="cd" * 32), Unknown.CERTIFICATE),
    ],
)
def test_who_is_known(title: str, address: str, certificate: Certificate | None, unknown: Unknown | None) -> None:
    connected = Connected(calling_ae=title, address=address, certificate=certificate)
    found = standing(PEERS, Policy.REJECT, connected)
    assert found.unknown is unknown
    assert found.entry is (Entry.REJECTED if unknown else Entry.KNOWN)


@pytest.mark.parametrize(
    ("address", "entry"),
    [
        ("127.0.0.1", Entry.ALLOWED),
        ("127.9.9.9", Entry.ALLOWED),
        ("::1", Entry.ALLOWED),
        ("::ffff:127.0.0.1", Entry.ALLOWED),
        ("10.1.2.7", Entry.QUARANTINED),
        ("::ffff:10.1.2.7", Entry.QUARANTINED),
        ("fe80::1%eth0", Entry.QUARANTINED),
        ("no address", Entry.QUARANTINED),
    ],
)
def test_without_a_policy_this_machine_alone_is_allowed(address: str, entry: Entry) -> None:
    assert standing({}, None, Connected(calling_ae="ANY", address=address)).entry is entry


def test_a_burst_then_the_rate_then_a_refusal_that_takes_no_place() -> None:
    now = [1000.0]
    pace = Pace(clock=lambda: now[0])
    assert [pace.take("CR1", 60) for _ in range(10)] == [0.0] * 10, "ten seconds' worth at once"
    assert [pace.take("CR1", 60) for _ in range(10)] == [float(wait) for wait in range(1, 11)]
    for _ in range(100):
        with pytest.raises(TooFast):
            pace.take("CR1", 60)
    assert pace.take("CR2", 60) == 0.0, "another peer's"
    now[0] += 1
    assert pace.take("CR1", 60) == LONGEST_WAIT
    now[0] += 3600
    assert [pace.take("CR1", 60) for _ in range(11)] == [0.0] * 10 + [1.0], "what was not used is not saved up"


def test_a_rate_below_one_in_ten_seconds_is_kept_too() -> None:
    now = [1000.0]
    pace = Pace(clock=lambda: now[0])
    assert pace.take("CR1", 2) == 0.0
    with pytest.raises(TooFast):  # a sender that waits for 30 s is gone
        pace.take("CR1", 2)
    now[0] += 25
    assert pace.take("CR1", 2) == 5.0
