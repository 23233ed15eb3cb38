"""A peer as a person writes it, checked and read. Every fault says what to write instead."""

import re
import tomllib
from collections.abc import Collection, Sequence
from ipaddress import IPv6Network, ip_network
from pathlib import Path
from typing import Any

from dicom_gateway.peers import ALL, Network, Peer, Right
from dicom_gateway.tls import subject_of
from worker.errors import ConfigurationError
from worker.setting_values import title

LONGEST_SUBJECT = 256
MOST = 1_000_000
"""C-STOREs a minute, and associations."""
KEYS = {"ae", "networks", "may", "certificate_subject", "certificate_sha256", "per_minute", "associations"}
"""Of a peer in a file."""


def peer_of(
    ae: str,
    *,
    networks: Sequence[str],
    may: Collection[str] = (),
    certificate_subject: str = "",
    certificate_sha256: str = "",
    per_minute: int | None = None,
    associations: int | None = None,
) -> Peer:
    """
    Args:
        may: names of rights; () for every right.

    Raises ConfigurationError.
    """
    try:
        name = title(ae).strip()
    except ValueError as error:
        raise ConfigurationError(f"AE {error}") from None
    if unknown := sorted(set(may) - set(Right)):
        raise ConfigurationError(f"{name} may {', '.join(unknown)}: choose from {', '.join(Right)}")
    for number, what in ((per_minute, "C-STOREs a minute"), (associations, "associations")):
        if number is not None and not 0 < number <= MOST:
            raise ConfigurationError(f"{name}: {what} are 1 to {MOST}; leave it out for no limit")
    return Peer(
        calling_ae=name,
        networks=networks_of(name, networks),
        certificate_subject=_subject(name, certificate_subject),
        certificate_sha256=_digest(name, certificate_sha256),
        rights=frozenset(map(Right, may)) or ALL,
        stores_a_minute=per_minute,
        most_associations=associations,
    )


def networks_of(name: str, texts: Sequence[str]) -> tuple[Network, ...]:
    """In their order. Raises ConfigurationError where there is none, one is none, or one is within another."""
    if not texts:
        raise ConfigurationError(f"{name} needs a network, such as 10.1.2.3 or 10.1.2.0/24")
    found: list[Network] = []
    for text in texts:
        network = _network(name, text.strip())
        for other in found:
            if type(other) is type(network) and other.overlaps(network):
                raise ConfigurationError(f"{name}: {network} and {other} overlap: name the wider one alone")
        found.append(network)
    return tuple(found)


def spoken(networks: Sequence[Network]) -> str:
    """A network of one address as the address."""
    return ", ".join(str(network).removesuffix(f"/{network.max_prefixlen}") for network in networks)


def read_file(path: Path) -> list[Peer]:
    """The peers of a TOML file, each a table [[peer]]. Raises ConfigurationError, which names the first fault."""
    try:
        content = tomllib.loads(path.read_text())
    except OSError as error:
        raise ConfigurationError(f"{path}: {error.strerror}") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ConfigurationError(f"{path} is no TOML: {error}") from None
    tables = content.get("peer")
    if set(content) != {"peer"} or not isinstance(tables, list):
        raise ConfigurationError(f"{path} should have tables [[peer]], and nothing else")
    peers: dict[str, Peer] = {}
    for number, table in enumerate(tables, 1):
        try:
            found = _of_table(table)
        except ConfigurationError as error:
            raise ConfigurationError(f"{path}, peer {number}: {error}") from None
        if found.calling_ae in peers:
            raise ConfigurationError(f"{path}, peer {number}: {found.calling_ae} is there twice; give it all networks")
        peers[found.calling_ae] = found
    return list(peers.values())


def _of_table(table: Any) -> Peer:
    if not isinstance(table, dict) or not isinstance(table.get("ae"), str):
        raise ConfigurationError('it should have ae = "TITLE"')
    if unknown := sorted(set(table) - KEYS):
        raise ConfigurationError(f"{', '.join(unknown)} is not known: choose from {', '.join(sorted(KEYS))}")
    for key in ("networks", "may"):
        texts = table.get(key, [])
        if not isinstance(texts, list) or not all(isinstance(text, str) for text in texts):
            raise ConfigurationError(f'{key} should be a list of texts, such as ["10.1.2.0/24"]')
    if table.get("may") == []:
        raise ConfigurationError("may should name a right, or be left out for all of them")
    for key in ("certificate_subject", "certificate_sha256"):
        if not isinstance(table.get(key, ""), str):
            raise ConfigurationError(f"{key} should be a text")
    for key in ("per_minute", "associations"):
        if key in table and (isinstance(table[key], bool) or not isinstance(table[key], int)):
            raise ConfigurationError(f"{key} should be a whole number")
    rest = {key: value for key, value in table.items() if key not in ("ae", "networks")}
    return peer_of(table["ae"], networks=table.get("networks", []), **rest)


def _network(name: str, text: str) -> Network:
    try:
        network = ip_network(text)
    except ValueError:
        try:
            whole = ip_network(text, strict=False)
        except ValueError:
            raise ConfigurationError(
                f"{name}: {text!r} is no network: write 10.1.2.3, 10.1.2.0/24 or 2001:db8::/64"
            ) from None
        address = text.partition("/")[0]
        raise ConfigurationError(
            f"{name}: {text} names an address and a network: write {whole} for the network, {address} for the address"
        ) from None
    if isinstance(network, IPv6Network) and network.network_address.ipv4_mapped:
        raise ConfigurationError(f"{name}: write {text} as an IPv4 network")
    return network


def _subject(name: str, text: str) -> str:
    if not text:
        return ""
    try:
        subject = subject_of(text)
    except ValueError:
        subject = ""
    if not 0 < len(subject) <= LONGEST_SUBJECT:
        raise ConfigurationError(
            f"{name}: the certificate's subject should be as 'openssl x509 -subject -nameopt RFC2253' prints it, such "
            f"as CN=cr1,O=Hospital, of {LONGEST_SUBJECT} characters at most"
        )
    return subject


def _digest(name: str, text: str) -> str:
    digest = text.replace(":", "").lower()
    if text and not re.fullmatch(r"[0-9a-f]{64}", digest):
        raise ConfigurationError(
            f"{name}: the certificate's SHA-256 should be 64 hexadecimal digits, as 'openssl x509 -fingerprint "
            "-sha256' prints them"
        )
    return digest
