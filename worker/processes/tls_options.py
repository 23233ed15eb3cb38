"""What TLS needs of the settings."""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from dicom_gateway.tls import ClientOptions, Followed, TlsOptions
    from worker.settings import Settings


def serves_tls(settings: "Settings") -> bool:
    """Whether a port of the gateway speaks TLS: DICOM's, or that of pushes by web."""
    from worker.setting_values import listening_place

    return bool(settings.tls_port or (settings.stow and listening_place(settings.stow).tls))


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


def tls_of_web(settings: "Settings") -> "Followed | None":
    """For browsers, which are asked for no certificate; None for plain HTTP. Raises ConfigurationError."""
    from dicom_gateway.errors import BadCertificate
    from dicom_gateway.tls import Clients, Profile, TlsOptions, server_tls
    from worker.errors import ConfigurationError
    from worker.setting_values import listening_place

    if not listening_place(settings.web).tls:
        return None
    assert settings.tls_certificate
    assert settings.tls_key
    options = TlsOptions(
        certificate=settings.tls_certificate,
        key=settings.tls_key,
        clients=Clients.ANY,
        profile=Profile.BCP195,
    )
    try:
        return server_tls(options)
    except BadCertificate as error:
        raise ConfigurationError(f"no TLS: {error}") from None


def tls_to_ourselves(settings: "Settings") -> "Followed | None":
    """For our own C-ECHO to the gateway, where no port without TLS is left; else None. Raises BadCertificate."""
    from dicom_gateway.tls import own_tls

    options = tls_options(settings)
    return own_tls(options) if options and not settings.port else None


def tls_of_results(settings: "Settings") -> "Followed | None":
    """For results over TLS; None where none go out so. Raises ConfigurationError."""
    return tls_as_client(settings) if settings.results_by_tls else None


def tls_of_commitment(settings: "Settings") -> "Followed | None":
    """The same for reports of storage commitment."""
    return tls_as_client(settings) if settings.commitment_by_tls else None


def tls_as_client(settings: "Settings") -> "Followed":
    """For peers that we call. Raises ConfigurationError."""
    from dicom_gateway.errors import BadCertificate
    from dicom_gateway.tls import client_tls
    from worker.errors import ConfigurationError

    try:
        return client_tls(client_options(settings))
    except BadCertificate as error:
        raise ConfigurationError(f"no TLS: {error}") from None


def client_options(settings: "Settings") -> "ClientOptions":
    """As requestor, where an entry with `tls:` asks for it: the settings have authorities then."""
    from dicom_gateway.tls import ClientOptions, Profile

    assert settings.tls_authorities
    return ClientOptions(
        authorities=settings.tls_authorities,
        certificate=settings.tls_certificate,
        key=settings.tls_key,
        profile=Profile(settings.tls_profile),
        check_host=settings.tls_check_host,
    )
