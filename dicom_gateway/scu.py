"""C-ECHO and C-STORE as SCU, by pynetdicom."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from pydicom.filereader import read_file_meta_info
from pynetdicom import AE, _config
from pynetdicom.presentation import build_context

from dicom_gateway.contexts import VERIFICATION
from dicom_gateway.errors import GatewayError


class PeerUnavailable(GatewayError):
    """No association: nobody listens, or the peer rejected or aborted it."""


@dataclass(frozen=True, kw_only=True)
class Sent:
    path: Path
    status: int | None
    """DIMSE status of the C-STORE-RSP; None when the peer accepts no such context or gave no answer."""
    comment: str


def echo(host: str, port: int, *, called_ae: str, calling_ae: str = "XRAYQ-SCU", timeout: float = 5.0) -> None:
    """C-ECHO. Raises PeerUnavailable."""
    entity = _entity(calling_ae, timeout)
    association = entity.associate(host, port, contexts=[build_context(VERIFICATION)], ae_title=called_ae)
    try:
        status = association.send_c_echo() if association.is_established else None
    finally:
        if association.is_established:
            association.release()
    if status is None or getattr(status, "Status", None) != 0:
        raise PeerUnavailable(f"no answer to C-ECHO from {host}:{port}")


def send(
    host: str,
    port: int,
    paths: Sequence[Path],
    *,
    called_ae: str,
    calling_ae: str = "XRAYQ-SCU",
    timeout: float = 30.0,
) -> Iterator[Sent]:
    """C-STORE each Part 10 file over one association, bytes as they are on disk, yielding each answer.

    Raises:
        PeerUnavailable: no association.
    """
    _config.STORE_SEND_CHUNKED_DATASET = True
    offered: dict[str, list[str]] = {}
    for path in paths:
        meta = read_file_meta_info(path)
        pair = (str(meta.MediaStorageSOPClassUID), str(meta.TransferSyntaxUID))
        if pair[1] not in offered.setdefault(pair[0], []):
            offered[pair[0]].append(pair[1])
    contexts = [build_context(sop_class, syntax) for sop_class, syntaxes in offered.items() for syntax in syntaxes]
    association = _entity(calling_ae, timeout).associate(host, port, contexts=contexts[:128], ae_title=called_ae)
    if not association.is_established:
        raise PeerUnavailable(f"no association with {called_ae} at {host}:{port}")
    try:
        for path in paths:
            try:
                answer = association.send_c_store(path)
            except (ValueError, RuntimeError):  # context not accepted, or the association is gone
                yield Sent(path=path, status=None, comment="not accepted")
                continue
            status = answer.get("Status")
            yield Sent(path=path, status=status, comment=str(answer.get("ErrorComment", "")))
    finally:
        if association.is_established:
            association.release()


def _entity(calling_ae: str, timeout: float) -> AE:
    entity = AE(ae_title=calling_ae)
    entity.acse_timeout = entity.dimse_timeout = entity.network_timeout = entity.connection_timeout = timeout
    entity.maximum_pdu_size = 128 * 1024
    return entity
