"""What TLS needs of the settings."""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from dicom_gateway.tls import Followed, TlsOptions
    from worker.settings import Settings


def serves_tls(settings: "Settings") -> bool:
    """Whether a port of the gateway speaks TLS: DICOM's, or that of pushes by web."""
    from worker.setting_values import stow_place

    return bool(settings.tls_port or (settings.stow and stow_place(settings.stow).tls))


def tls_options(settings: "Settings") -> "TlsOptions | None":
    """None where there is no port for it."""
    from dicom_gateway.tls import Clients, Profile, TlsOptions

    if not serves_tls(settings):
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
    from dicom_gateway.errors import BadCertificate
    from dicom_gateway.tls import ClientOptions, Profile, client_tls
    from worker.errors import ConfigurationError
    from worker.setting_values import result_route

    if not any(result_route(text).scheme == "tls" for text in settings.results_to):
        return None
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
