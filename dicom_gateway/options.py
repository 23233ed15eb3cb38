"""What the SCP is told. Values only; where they come from is the caller's business."""

from dataclasses import dataclass
from pathlib import Path

from dicom_gateway.header import Header
from dicom_gateway.peers import Connected
from dicom_gateway.tls import TlsOptions


@dataclass(frozen=True, kw_only=True)
class GatewayOptions:
    host: str = "0.0.0.0"
    port: int | None = 11112
    """TCP port without TLS; 0 lets the system choose; None: none."""
    plain_host: str = ""
    """Address of that port, "" for `host`."""
    tls_port: int | None = None
    """TCP port with TLS, at `host`; 0 lets the system choose; None: none."""
    tls: TlsOptions | None = None
    """Needed where `tls_port` is given."""
    ae_title: str = "XRAYQ"
    require_called_ae: bool = False
    """Reject associations that call another AE title (1/1/7)."""
    calling_aes: tuple[str, ...] = ()
    """AE titles that may connect (others: 1/1/3); empty allows all."""
    reporting_aes: tuple[str, ...] = ()
    """AE titles of peers that are known to report storage commitment: of them alone it is accepted where they say
    nothing of their role. Another one that says nothing is SCU by default (PS3.7 D.3.3.4), and wants our commitment."""
    max_associations: int = 1000
    """Open associations; the next is rejected as a local limit (2/3/2)."""
    max_quarantined: int = 250
    """Of these, of all peers together whose films go into quarantine; the next is rejected the same way."""
    max_pdu: int = 128 * 1024
    """Largest P-DATA-TF PDU we announce, bytes."""
    association_timeout: float = 10.0
    """Seconds a connected peer may take to ask for an association (ARTIM, PS3.8 9.1.5)."""
    network_timeout: float = 30.0
    """Seconds without a byte inside a PDU or a message before we abort."""
    idle_timeout: float = 600.0
    """Seconds an association may rest between messages."""
    keep_other_objects: bool = False
    """Store also what can never be a film."""


@dataclass(frozen=True, kw_only=True)
class Received:
    """One durable film on its way to `accept`."""

    header: Header
    digest: str
    """SHA-256 of the spooled file, hex; also its name."""
    path: Path
    size: int
    """Bytes in the spool."""
    calling_ae: str
    called_ae: str
    fresh: bool = False
    """See `spool.Stored`."""
    sent_by: Connected | None = None
    """None for a file of this machine."""
