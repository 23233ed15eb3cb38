"""Who may come: a table of peers, and how one that connects stands with us. Nothing is read or asked here.

An AE title is a name that anybody can use. So a peer is known by its title together with the address that it comes from
and, where its row says so, its TLS certificate. Who comes under a known title from elsewhere is unknown, and the reason
says so.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address

Address = IPv4Address | IPv6Address
Network = IPv4Network | IPv6Network


class Right(StrEnum):
    """What a peer may do."""

    STORE = "store"
    ECHO = "echo"
    COMMIT = "commit"
    """Ask for storage commitment of what it stored."""


ALL = frozenset(Right)


class Policy(StrEnum):
    """What becomes of an unknown peer."""

    ALLOW = "allow"
    QUARANTINE = "quarantine"
    REJECT = "reject"


class Entry(StrEnum):
    """How a peer is let in, or not."""

    KNOWN = "known"
    ALLOWED = "allowed"
    QUARANTINED = "quarantined"
    REJECTED = "rejected"


ENTRY_OF = {
    Policy.ALLOW: Entry.ALLOWED,
    Policy.QUARANTINE: Entry.QUARANTINED,
    Policy.REJECT: Entry.REJECTED,
}


class Unknown(StrEnum):
    """Why a peer is not known. The value is for people, the name for counts."""

    AE = "unknown AE"
    ADDRESS = "AE known, address not"
    CERTIFICATE = "AE and address known, certificate not"


@dataclass(frozen=True, kw_only=True)
class Certificate:
    """What a peer showed, and TLS has verified."""

    subject: str
    """As RFC 4514 writes it; "" where it cannot be written so."""
    sha256: str
    """Of the whole certificate, 64 hexadecimal digits."""


@dataclass(frozen=True, kw_only=True)
class Connected:
    """Who an association is with."""

    calling_ae: str
    address: str
    certificate: Certificate | None = None
    """None without TLS, and where none was asked for."""
    proven: bool = False
    """It showed a token of its own, and is known by that: the table is not asked where it comes from."""


@dataclass(frozen=True, kw_only=True)
class Peer:
    """A row of the table."""

    calling_ae: str
    networks: tuple[Network, ...]
    certificate_subject: str = ""
    """"" for any, and for none."""
    certificate_sha256: str = ""
    """"" as above. Where both are given both must fit."""
    rights: frozenset[Right] = ALL
    stores_a_minute: int | None = None
    """C-STOREs, of all its associations together; None: as many as it likes."""
    most_associations: int | None = None
    """Open at the same time; None: as many as the gateway takes."""

    def unlike(self, connected: Connected) -> Unknown | None:
        """In what a peer with this title is not this one; None where it is."""
        address = address_of(connected.address)
        if address is None or not any(address in network for network in self.networks):
            return Unknown.ADDRESS
        shown = connected.certificate or Certificate(subject="", sha256="")
        fits = self.certificate_subject in ("", shown.subject) and self.certificate_sha256 in ("", shown.sha256)
        return None if fits else Unknown.CERTIFICATE


@dataclass(frozen=True, kw_only=True)
class Standing:
    """How a peer stands with us."""

    entry: Entry
    unknown: Unknown | None = None
    """Why it is not known."""
    peer: Peer | None = None
    """Its row, where it is known."""

    @property
    def rights(self) -> frozenset[Right]:
        """A peer in quarantine can test its connection, and send; nothing is promised to it but to keep what came."""
        if self.peer:
            return self.peer.rights
        return frozenset((Right.STORE, Right.ECHO)) if self.entry is Entry.QUARANTINED else ALL

    @property
    def most_associations(self) -> int | None:
        return self.peer.most_associations if self.peer else None


EVERYBODY = Standing(entry=Entry.ALLOWED, unknown=Unknown.AE)
"""Of whom nobody asked."""


def why_unknown(peers: Mapping[str, Peer], connected: Connected) -> Unknown | None:
    """None for a peer of the table.

    Args:
        peers: by calling AE title.
    """
    peer = peers.get(connected.calling_ae)
    return peer.unlike(connected) if peer else Unknown.AE


def standing(peers: Mapping[str, Peer], policy: Policy | None, connected: Connected) -> Standing:
    """
    Args:
        peers: by calling AE title.
        policy: for unknown peers; None: those of this machine are allowed, others go into quarantine.
    """
    unknown = why_unknown(peers, connected)
    if unknown is None:
        return Standing(entry=Entry.KNOWN, peer=peers[connected.calling_ae])
    if policy is None:
        policy = Policy.ALLOW if is_loopback(connected.address) else Policy.QUARANTINE
    return Standing(entry=ENTRY_OF[policy], unknown=unknown)


def is_loopback(address: str) -> bool:
    """Also as an IPv6 socket has an IPv4 peer, `::ffff:127.0.0.1`."""
    found = address_of(address)
    return found is not None and found.is_loopback


def address_of(text: str) -> Address | None:
    """An IPv4 address in the clothes of IPv6 (RFC 4291 2.5.5.2) is the IPv4 address. None where it is none."""
    try:
        found = ip_address(text)
    except ValueError:
        return None
    return found.ipv4_mapped or found if isinstance(found, IPv6Address) else found
