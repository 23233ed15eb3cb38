"""What TLS needs of the settings."""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from dicom_gateway.tls import TlsOptions
    from worker.settings import Settings


def tls_options(settings: "Settings") -> "TlsOptions | None":
    """None where there is no port for it."""
    from dicom_gateway.tls import Clients, Profile, TlsOptions

    if not settings.tls_port:
        return None
    assert settings.tls_certificate
    assert settings.tls_key
    return TlsOptions(
        certificate=settings.tls_certificate,
        key=settings.tls_key,
        authorities=settings.tls_authorities,
        clients=Clients(settings.tls_clients),
        profile=Profile(settings.tls_profile),
    )
