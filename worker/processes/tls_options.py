"""What TLS needs of the settings."""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from dicom_gateway.tls import Followed, TlsOptions
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


def tls_of_results(settings: "Settings") -> "Followed | None":
    """For results over TLS; None where none go out so. Raises ConfigurationError."""
    return _client(settings) if settings.results_by_tls else None


def tls_of_commitment(settings: "Settings") -> "Followed | None":
    """The same for reports of storage commitment."""
    return _client(settings) if settings.commitment_by_tls else None


def _client(settings: "Settings") -> "Followed":
    from dicom_gateway.errors import BadCertificate
    from dicom_gateway.tls import ClientOptions, Profile, client_tls
    from worker.errors import ConfigurationError

    assert settings.tls_authorities
    options = ClientOptions(
        authorities=settings.tls_authorities,
        certificate=settings.tls_certificate,
        key=settings.tls_key,
        profile=Profile(settings.tls_profile),
        check_host=settings.tls_check_host,
    )
    try:
        return client_tls(options)
    except BadCertificate as error:
        raise ConfigurationError(f"no TLS: {error}") from None
