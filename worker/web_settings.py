"""Settings of the web page: where it is served, and how people sign in. Part of `worker.settings.Settings`."""

from typing import Annotated, Any, Literal, Self

from pydantic import AfterValidator, Field, SecretStr, field_validator, model_validator
from pydantic_settings import BaseSettings, NoDecode

from worker import setting_values

WEB_LISTS = ("web_hosts", "web_proxy", "web_roles")
HeaderName = Annotated[str, AfterValidator(setting_values.header_name)]


class WebSettings(BaseSettings):
    """What the page needs to know."""

    web: Annotated[str, AfterValidator(setting_values.stow)] = Field(
        "127.0.0.1:9120",
        description="Where the web page is served: `host:port`, or `tls:host:port` with the certificate of DICOM over "
        "TLS. Empty: nowhere. Another address than this machine's own needs XRAYQ_WEB_SIGN_IN and XRAYQ_WEB_HOSTS, and "
        "`tls:` or XRAYQ_WEB_PROXY.",
    )
    web_sign_in: Literal["off", "local", "proxy", "oidc"] = Field(
        "off",
        description="How people sign in to the web page: `off`, not at all, on this machine's own address alone; "
        "`local`, with a password; `proxy`, at a proxy that says who it is; `oidc`, at "
        "an OpenID Connect provider.",
    )
    web_hosts: Annotated[tuple[str, ...], NoDecode, AfterValidator(setting_values.host_names)] = Field(
        (),
        description="Names by which browsers reach the web page, without port, beside `localhost` and the address of "
        "XRAYQ_WEB; a request for another name is refused.",
    )
    web_proxy: Annotated[tuple[str, ...], NoDecode, AfterValidator(setting_values.networks)] = Field(
        (),
        description="Addresses or networks of proxies before the web page. They speak TLS to browsers, hand the header "
        "Host on, and take away what a browser puts into the headers below.",
    )
    web_proxy_user: HeaderName = Field(
        "X-Forwarded-User", description="Header in which a proxy says who signed in; `proxy` only."
    )
    web_proxy_groups: HeaderName = Field(
        "X-Forwarded-Groups", description="Header in which a proxy says in which groups they are, comma-separated."
    )
    web_roles: Annotated[tuple[str, ...], NoDecode, AfterValidator(setting_values.role_entries)] = Field(
        (),
        description="Which group of a proxy, or value of the provider's claim, has which role: `GROUP:ROLE` each, ROLE "
        "one of `viewer`, `reader`, `operator`, `admin`; `*` is everybody who signs in there. Of several the highest "
        "counts; who has none is not let in.",
    )
    web_oidc_issuer: Annotated[str, AfterValidator(setting_values.issuer)] = Field(
        "", description="OpenID Connect provider, such as https://login.example/realms/hospital."
    )
    web_oidc_client_id: str = Field("", description="Name by which the provider knows xrayq.")
    web_oidc_client_secret: SecretStr = Field(
        SecretStr(""), description="Secret that the provider gave xrayq; empty: a public client, with PKCE alone."
    )
    web_oidc_name: str = Field(
        "preferred_username", min_length=1, description="Claim of the ID token that is a person's name in the trail."
    )
    web_oidc_role: str = Field(
        "groups", min_length=1, description="Claim of the ID token with the groups that `web_roles` names."
    )
    web_session_hours: float = Field(12.0, gt=0, le=168, description="Hours after which a person signs in again.")
    web_idle_minutes: float = Field(
        30.0, ge=2, le=1440, description="Minutes without a request after which a person signs in again."
    )

    web_viewer: Annotated[str, AfterValidator(setting_values.viewer_template)] = Field(
        "",
        description="URL at which the site's own viewer shows a study, for a link beside each film: `{study}` stands "
        "for the Study Instance UID, as in https://ohif.example/viewer?StudyInstanceUIDs={study}. Empty: no link.",
    )

    @field_validator(*WEB_LISTS, mode="before")
    @classmethod
    def _split_web_lists(cls, value: Any) -> Any:
        return tuple(name.strip() for name in value.split(",") if name.strip()) if isinstance(value, str) else value

    @model_validator(mode="after")
    def _whole_web(self) -> Self:
        """A page that everybody of the network could open, or nobody."""
        if not self.web:
            return self
        place = setting_values.listening_place(self.web)
        if place.tls and not (getattr(self, "tls_certificate", None) and getattr(self, "tls_key", None)):
            raise ValueError("XRAYQ_WEB tls: needs XRAYQ_TLS_CERTIFICATE and XRAYQ_TLS_KEY")
        if not setting_values.is_loopback(place.host):
            if self.web_sign_in == "off":
                raise ValueError("XRAYQ_WEB needs XRAYQ_WEB_SIGN_IN: everybody of the network could do everything")
            if not (place.tls or self.web_proxy):
                raise ValueError("XRAYQ_WEB needs tls:, or XRAYQ_WEB_PROXY: passwords would go in plain text")
            if not self.web_hosts:
                raise ValueError("XRAYQ_WEB needs XRAYQ_WEB_HOSTS: the names by which browsers reach it")
        if self.web_sign_in == "off" and self.web_proxy:
            raise ValueError("XRAYQ_WEB_PROXY needs XRAYQ_WEB_SIGN_IN: whoever reaches the proxy could do everything")
        if self.web_sign_in == "proxy" and not self.web_proxy:
            raise ValueError("XRAYQ_WEB_SIGN_IN proxy needs XRAYQ_WEB_PROXY: whose header counts")
        if self.web_sign_in == "oidc" and not (self.web_oidc_issuer and self.web_oidc_client_id):
            raise ValueError("XRAYQ_WEB_SIGN_IN oidc needs XRAYQ_WEB_OIDC_ISSUER and XRAYQ_WEB_OIDC_CLIENT_ID")
        if self.web_sign_in in ("proxy", "oidc") and not self.web_roles:
            raise ValueError(f"XRAYQ_WEB_SIGN_IN {self.web_sign_in} needs XRAYQ_WEB_ROLES: nobody would be let in")
        return self
