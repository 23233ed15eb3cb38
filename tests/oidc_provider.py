"""A strict OpenID Connect provider over HTTP, by Authlib's server side: codes are good once, PKCE and nonce are needed.

Everybody who comes is `user`. `forge` makes another ID token of what would have been the right one.
"""

import json
import secrets
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qsl, urlsplit

from authlib.oauth2.rfc6749 import AuthorizationServer, ClientMixin, OAuth2Request
from authlib.oauth2.rfc6749.grants import AuthorizationCodeGrant
from authlib.oauth2.rfc6749.requests import BasicOAuth2Payload
from authlib.oauth2.rfc6750 import BearerTokenGenerator
from authlib.oauth2.rfc7636 import CodeChallenge
from authlib.oidc.core.grants import OpenIDCode
from joserfc import jwt
from joserfc.jwk import KeySet, RSAKey

CLIENT, SECRET = "xrayq", "a secret of both: 0123456789 abcdef"
Forge = Callable[[dict[str, Any], RSAKey], str]


def new_key(kid: str) -> RSAKey:
    return RSAKey.generate_key(2048, {"kid": kid, "use": "sig", "alg": "RS256"})


FIRST = new_key("first")


@dataclass
class Provider:
    """What a test changes, and what it looks at."""

    redirect_uri: str
    secret: str = SECRET
    user: dict[str, Any] = field(
        default_factory=lambda: {"sub": "7", "preferred_username": "kim", "groups": ["readers"]}
    )
    forge: Forge | None = None
    key: RSAKey = field(default_factory=lambda: FIRST)
    published: list[RSAKey] = field(default_factory=lambda: [FIRST])
    metadata: dict[str, Any] = field(default_factory=dict)
    """Instead of what it would say."""
    broken: str = ""
    """A path that answers with nonsense."""
    issuer: str = ""
    codes: dict[str, "Code"] = field(default_factory=dict)
    keys_asked: int = 0


@dataclass
class Code:
    payload: dict[str, str]

    def get_redirect_uri(self) -> str:
        return self.payload["redirect_uri"]

    def get_scope(self) -> str:
        return self.payload["scope"]

    def get_nonce(self) -> str:
        return self.payload["nonce"]

    def get_auth_time(self) -> int:
        return int(time.time())

    def get_acr(self) -> None:
        return None

    def get_amr(self) -> None:
        return None

    @property
    def code_challenge(self) -> str:
        return self.payload["code_challenge"]

    @property
    def code_challenge_method(self) -> str:
        return self.payload["code_challenge_method"]


class _Client(ClientMixin):  # type: ignore[misc]
    def __init__(self, provider: Provider) -> None:
        self.provider = provider

    def get_client_id(self) -> str:
        return CLIENT

    def get_allowed_scope(self, scope: str) -> str:
        return scope

    def check_redirect_uri(self, redirect_uri: str) -> bool:
        return redirect_uri == self.provider.redirect_uri

    def check_client_secret(self, client_secret: str) -> bool:
        return secrets.compare_digest(client_secret, self.provider.secret)

    def check_endpoint_auth_method(self, method: str, endpoint: str) -> bool:
        return method == ("client_secret_basic" if self.provider.secret else "none")

    def check_response_type(self, response_type: str) -> bool:
        return response_type == "code"

    def check_grant_type(self, grant_type: str) -> bool:
        return grant_type == "authorization_code"


class _Grant(AuthorizationCodeGrant):  # type: ignore[misc]
    TOKEN_ENDPOINT_AUTH_METHODS = ("client_secret_basic", "none")

    def save_authorization_code(self, code: str, request: OAuth2Request) -> None:
        self.server.provider.codes[code] = Code(dict(request.payload.data))

    def query_authorization_code(self, code: str, client: _Client) -> Code | None:
        found: Code | None = self.server.provider.codes.get(code)
        return found

    def delete_authorization_code(self, authorization_code: Code) -> None:
        codes = self.server.provider.codes
        codes.pop(next(code for code, kept in codes.items() if kept is authorization_code))

    def authenticate_user(self, authorization_code: Code) -> dict[str, Any]:
        user: dict[str, Any] = self.server.provider.user
        return user


class _OpenID(OpenIDCode):  # type: ignore[misc]
    def __init__(self, provider: Provider) -> None:
        super().__init__(require_nonce=True)
        self.provider = provider

    def exists_nonce(self, nonce: str, request: OAuth2Request) -> bool:
        return any(code.get_nonce() == nonce for code in self.provider.codes.values())

    def get_client_algorithm(self, client: _Client) -> str:
        return "RS256"

    def resolve_client_private_key(self, client: _Client) -> RSAKey:
        return self.provider.key

    def get_encode_header(self, client: _Client) -> dict[str, str]:
        return {"alg": "RS256", "kid": str(self.provider.key.kid)}

    def get_client_claims(self, client: _Client) -> dict[str, Any]:
        return {"iss": self.provider.issuer, "aud": [CLIENT]}

    def generate_user_info(self, user: dict[str, Any], scope: str) -> dict[str, Any]:
        return user

    def encode_id_token(self, token: dict[str, Any], request: OAuth2Request) -> str:
        right = str(super().encode_id_token(token, request))
        if self.provider.forge is None:
            return right
        claims = jwt.decode(right, self.provider.key).claims
        return self.provider.forge(dict(claims), self.provider.key)


class _Server(AuthorizationServer):  # type: ignore[misc]
    def __init__(self, provider: Provider) -> None:
        super().__init__()
        self.provider = provider
        self.register_token_generator("default", BearerTokenGenerator(lambda **_: secrets.token_urlsafe(24)))
        self.register_grant(_Grant, [CodeChallenge(required=True), _OpenID(provider)])

    def query_client(self, client_id: str) -> _Client | None:
        return _Client(self.provider) if client_id == CLIENT else None

    def save_token(self, token: dict[str, Any], request: OAuth2Request) -> None: ...

    def send_signal(self, name: str, *args: Any, **kwargs: Any) -> None: ...

    def create_oauth2_request(self, request: OAuth2Request) -> OAuth2Request:
        return request

    def handle_response(self, status: int, body: Any, headers: Any) -> tuple[int, Any, Any]:
        return status, body, headers


@contextmanager
def provider(redirect_uri: str) -> Iterator[Provider]:
    """One that listens on this machine until the block ends."""
    known = Provider(redirect_uri=redirect_uri)
    server = _Server(known)

    class Handler(BaseHTTPRequestHandler):
        def log_message(self, *_: Any) -> None: ...

        def do_GET(self) -> None:
            path = urlsplit(self.path).path
            if path == known.broken:
                self._answer(200, "no JSON", {})
            elif path == "/.well-known/openid-configuration":
                self._answer(200, _metadata(known), {})
            elif path == "/keys":
                known.keys_asked += 1
                self._answer(200, KeySet(known.published).as_dict(private=False), {})
            else:
                request = self._request(urlsplit(self.path).query)
                grant = server.get_consent_grant(request, known.user)
                self._answer(*server.create_authorization_response(request, grant_user=known.user, grant=grant))

        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["content-length"])).decode()
            if urlsplit(self.path).path == known.broken:
                self._answer(200, "no JSON", {})
            else:
                self._answer(*server.create_token_response(self._request(body)))

        def _request(self, form: str) -> OAuth2Request:
            request = OAuth2Request(self.command, f"https://provider.example{self.path}", headers=dict(self.headers))
            data = dict(parse_qsl(form))
            request.payload = BasicOAuth2Payload(data)
            request._args, request._form = (data, {}) if self.command == "GET" else ({}, data)
            type(request).args = property(lambda own: own._args)
            type(request).form = property(lambda own: own._form)
            return request

        def _answer(self, status: int, body: Any, headers: Any) -> None:
            self.send_response(status)
            for name, value in dict(headers).items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write((json.dumps(body) if isinstance(body, dict) else str(body)).encode())

    listener = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    known.issuer = f"http://127.0.0.1:{listener.server_port}"
    thread = threading.Thread(target=listener.serve_forever)
    thread.start()
    try:
        yield known
    finally:
        listener.shutdown()
        listener.server_close()
        thread.join()


def _metadata(known: Provider) -> dict[str, Any]:
    found = {
        "issuer": known.issuer,
        "authorization_endpoint": f"{known.issuer}/authorize",
        "token_endpoint": f"{known.issuer}/token",
        "jwks_uri": f"{known.issuer}/keys",
        "token_endpoint_auth_methods_supported": ["client_secret_basic", "none"],
        # What a careless client would believe.
        "id_token_signing_alg_values_supported": ["RS256", "HS256", "none"],
    }
    return found | known.metadata
