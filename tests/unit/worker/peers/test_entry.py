"""A peer as a person writes it: what is taken, and what is said of what is not."""

from pathlib import Path
from typing import Any

import pytest

from dicom_gateway.peers import ALL, Right
from worker.errors import ConfigurationError
from worker.peers.entry import peer_of, read_file


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ({"ae": "SEVENTEEN-LETTERS"}, "AE should be an AE title of 1 to 16 characters"),
        ({"ae": "A\\B"}, "no backslash"),
        ({"networks": []}, "CR1 needs a network"),
        ({"networks": ["10.1.2.7/24"]}, "write 10.1.2.0/24 for the network, 10.1.2.7 for the address"),
        ({"networks": ["pacs.example"]}, "is no network"),
        ({"networks": ["10.0.0.0/33"]}, "is no network"),
        ({"networks": ["10.0.0.0/8", "10.1.2.0/24"]}, "10.1.2.0/24 and 10.0.0.0/8 overlap"),
        ({"networks": ["10.1.2.7", "10.1.2.7"]}, "overlap"),
        ({"networks": ["::ffff:10.1.2.0/120"]}, "as an IPv4 network"),
        ({"may": ["store", "print"]}, "choose from store, echo, commit"),
        ({"certificate_sha256": "ab:cd"}, "64 hexadecimal digits"),
        ({"certificate_subject": "nobody"}, "openssl x509 -subject"),
        ({"per_minute": 0}, "1 to"),
        ({"associations": -1}, "1 to"),
    ],
)
def test_what_is_wrong_is_said(words: dict[str, Any], said: str) -> None:
    with pytest.raises(ConfigurationError) as error:
        peer_of(**{"ae": "CR1", "networks": ["10.1.2.7"]} | words)
    assert said in str(error.value)


def test_what_is_right_is_taken_as_tools_print_it() -> None:
    digest = ":".join(["AB"] * 32)
    peer = peer_of(
        " CR1 ",
        networks=["10.1.2.7", " 2001:db8::/64"],
        certificate_subject="CN=cr1,O=Hospital",
        certificate_sha256=digest,
    )
    assert (peer.calling_ae, [str(network) for network in peer.networks]) == ("CR1", ["10.1.2.7/32", "2001:db8::/64"])
    assert (peer.certificate_subject, peer.certificate_sha256) == ("CN=cr1,O=Hospital", "ab" * 32)
    assert peer.rights == ALL


FILE = """
[[peer]]
ae = "CR1"
networks = ["10.1.2.0/24"]
may = ["store", "echo"]
per_minute = 60

[[peer]]
ae = "PACS"
networks = ["10.1.3.1", "2001:db8::1"]
associations = 4
"""


def test_a_file(tmp_path: Path) -> None:
    file = tmp_path / "peers.toml"
    file.write_text(FILE)
    first, second = read_file(file)
    assert (first.rights, first.stores_a_minute) == ({Right.STORE, Right.ECHO}, 60)
    assert (second.calling_ae, second.most_associations, len(second.networks)) == ("PACS", 4, 2)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("peer", "is no TOML"),
        ('[peer]\nae = "CR1"', "tables [[peer]]"),
        ("[[peers]]", "tables [[peer]]"),
        ('[[peer]]\nnetworks = ["10.1.2.7"]', 'peer 1: it should have ae = "TITLE"'),
        (FILE + '[[peer]]\nae = "X"\nnetwork = "10.1.2.7"', "peer 3: network is not known"),
        (FILE + '[[peer]]\nae = "X"\nnetworks = "10.1.2.7"', "peer 3: networks should be a list"),
        (FILE + '[[peer]]\nae = "X"\nnetworks = ["10.1.2.7"]\nmay = []', "peer 3: may should name a right"),
        (FILE + '[[peer]]\nae = "X"\nnetworks = ["10.1.2.7"]\nper_minute = "5"', "should be a whole number"),
        (FILE + '[[peer]]\nae = "CR1"\nnetworks = ["10.1.2.7"]', "peer 3: CR1 is there twice"),
    ],
)
def test_a_file_with_a_fault_is_not_taken(tmp_path: Path, text: str, said: str) -> None:
    file = tmp_path / "peers.toml"
    file.write_text(text)
    with pytest.raises(ConfigurationError) as error:
        read_file(file)
    assert said in str(error.value)
