"""What is looked at before a backfill of a PACS begins: would its films be let in?

By C-MOVE the PACS comes to the gateway as any sender does. As long as nobody made it a peer, thousands of films would
land in quarantine.
"""

import socket
from collections.abc import Mapping

from dicom_gateway.peers import Connected, Entry, Peer, Policy, Right, Unknown, standing
from worker.errors import ConfigurationError
from worker.pacs.options import AskedPacs


def must_be_let_in(
    peers: Mapping[str, Peer], policy: Policy | None, pacs: AskedPacs, sends_as: str, calling_aes: tuple[str, ...]
) -> str:
    """What cannot be looked at before it sends, one line; "" where that is nothing.

    Raises ConfigurationError, which says what to do.

    Args:
        policy: for unknown peers, as of `standing`.
        sends_as: title under which it sends, where that is another than the one that is asked: then its address may be
            another too, and the title alone is looked at.
        calling_aes: that may connect at all; () for every one.
    """
    title = sends_as or pacs.called_ae
    if calling_aes and title not in calling_aes:
        raise ConfigurationError(f"XRAYQ_CALLING_AES does not name {title}: its films would be turned away")
    later = ""
    if peer := peers.get(title):
        if Right.STORE not in peer.rights:
            raise ConfigurationError(f"{title} is a peer that may not send films: 'xrayq peer show {title}'")
        if peer.certificate_subject or peer.certificate_sha256:
            later = f"{title} is known by its TLS certificate too: whether it shows that one is seen once it sends"
        if sends_as:
            return later
    found = [standing(peers, policy, Connected(calling_ae=title, address=address)) for address in _addresses(pacs.host)]
    if any(one.entry in (Entry.KNOWN, Entry.ALLOWED) or one.unknown is Unknown.CERTIFICATE for one in found):
        return later
    becomes = "be rejected" if policy is Policy.REJECT else "land in quarantine"
    raise ConfigurationError(
        f"films of {title} from {pacs.host} would {becomes}: 'xrayq peer add {title} --network ADDRESS' first, or name "
        "with --sends-as the AE title under which it sends"
    )


def _addresses(host: str) -> list[str]:
    """Raises ConfigurationError where it has none."""
    try:
        return sorted({str(found[4][0]) for found in socket.getaddrinfo(host, None, type=socket.SOCK_STREAM)})
    except OSError:
        raise ConfigurationError(f"no host {host}: see XRAYQ_ASK_PACS") from None
