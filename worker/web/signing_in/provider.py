"""An OpenID Connect provider: where it is asked, its keys, and whether an ID token is its own (OpenID Core 3.1).

Every answer is read within SECONDS and up to LARGEST bytes, and no redirect is followed.
"""

import json
import logging
import ssl
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, TypeVar
from urllib.parse import urlsplit

import anyio
import httpx
from authlib.oauth2.auth import ClientAuth
from authlib.oauth2.rfc6749.parameters import prepare_grant_uri, prepare_token_request
from authlib.oauth2.rfc7636 import create_s256_code_challenge
from authlib.oidc.core import CodeIDToken
from joserfc import jwt
from joserfc.errors import JoseError
from joserfc.jwk import KeySet
from joserfc.jws import JWSRegistry

from worker.errors import Unhealthy, WrongState

log = logging.getLogger("xrayq.web")

T = TypeVar("T")
SECONDS = 10.0
LARGEST = 512 << 10
KEPT_SECONDS = 3600.0
"""For so long its addresses and keys hold."""
ANEW_SECONDS = 60.0
"""Keys that do not fit are fetched anew, but not more often."""
LEEWAY = 60
"""Seconds by which its clock and ours may differ."""
SIGNED_BY = ["RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512", "EdDSA", "Ed25519"]
"""Signatures of a private key. With `none`, or a secret that both sides know, others could have made the token."""
BAD_TOKEN = (JoseError, ArithmeticError, AttributeError, KeyError, TypeError, ValueError)
KEY_TYPES = ("RSA", "EC", "OKP")
ADDRESSES = ("authorization_endpoint", "token_endpoint", "jwks_uri")


@dataclass(frozen=True, kw_only=True)
class Client:
    """Who we are to the provider."""

    issuer: str
    id: str
    secret: str
    """"" for a public client."""


@dataclass(frozen=True, kw_only=True)
class _Known:
    """What it said of itself."""

    at: float
    metadata: Mapping[str, Any]
    keys: KeySet


class Provider:
    """Asked when somebody signs in."""

    def __init__(self, client: Client) -> None:
        self.issuer = client.issuer
        self._client = client
        self._context = ssl.create_default_context()
        self._known: _Known | None = None

    async def address(self, *, redirect_uri: str, state: str, nonce: str, verifier: str) -> str:
        """Where the browser goes to sign in. Raises Unhealthy."""
        known = await self._know()
        return str(
            prepare_grant_uri(
                known.metadata["authorization_endpoint"],
                self._client.id,
                "code",
                redirect_uri=redirect_uri,
                scope="openid profile email",
                state=state,
                nonce=nonce,
                code_challenge=create_s256_code_challenge(verifier),
                code_challenge_method="S256",
            )
        )

    async def claims(self, code: str, *, redirect_uri: str, nonce: str, verifier: str) -> Mapping[str, Any]:
        """Of the ID token that the code is good for.

        Raises Unhealthy, or WrongState with the code `provider_refused` or `bad_token`.
        """
        known = await self._know()
        token = await self._token(known, code, redirect_uri, verifier)
        try:
            return self._verified(known, token, nonce)
        except BAD_TOKEN as error:
            if time.monotonic() - known.at < ANEW_SECONDS:
                raise _refused(error) from None
        self._known = None  # it may have new keys
        try:
            return self._verified(await self._know(), token, nonce)
        except BAD_TOKEN as error:
            raise _refused(error) from None

    def _verified(self, known: _Known, token: Mapping[str, Any], nonce: str) -> Mapping[str, Any]:
        registry = JWSRegistry(algorithms=SIGNED_BY, strict_check_header=False)
        signed = jwt.decode(token["id_token"], known.keys, registry=registry)
        options = {
            "iss": {"essential": True, "value": self._client.issuer},
            "aud": {"essential": True, "value": self._client.id},
        }
        about = {"nonce": nonce, "client_id": self._client.id, "access_token": token.get("access_token")}
        claims = CodeIDToken(signed.claims, signed.header, options, about)
        claims.validate(leeway=LEEWAY)
        return dict(claims)

    async def _token(self, known: _Known, code: str, redirect_uri: str, verifier: str) -> Mapping[str, Any]:
        methods = known.metadata.get("token_endpoint_auth_methods_supported") or ["client_secret_basic"]
        method = "client_secret_basic" if "client_secret_basic" in methods else "client_secret_post"
        body = prepare_token_request("authorization_code", redirect_uri=redirect_uri, code=code, code_verifier=verifier)
        ours = ClientAuth(self._client.id, self._client.secret, method if self._client.secret else "none")
        headers = {"content-type": "application/x-www-form-urlencoded"}
        address, headers, body = ours.prepare("POST", known.metadata["token_endpoint"], headers, body)
        return await self._json("POST", address, headers, body)

    async def _know(self) -> _Known:
        """Raises Unhealthy."""
        if self._known is None or time.monotonic() - self._known.at > KEPT_SECONDS:
            metadata = await self._json("GET", f"{self._client.issuer.rstrip('/')}/.well-known/openid-configuration")
            if metadata.get("issuer") != self._client.issuer:
                raise _unhealthy("it is another issuer than XRAYQ_WEB_OIDC_ISSUER")
            schemes = ("https", "http") if self._client.issuer.startswith("http:") else ("https",)
            if not all(urlsplit(str(metadata.get(name))).scheme in schemes for name in ADDRESSES):
                raise _unhealthy("an address of it is missing, or has no TLS")
            self._known = _Known(at=time.monotonic(), metadata=metadata, keys=await self._keys(metadata))
        return self._known

    async def _keys(self, metadata: Mapping[str, Any]) -> KeySet:
        found = await self._json("GET", metadata["jwks_uri"])
        try:
            return KeySet.import_key_set({"keys": [key for key in found["keys"] if key.get("kty") in KEY_TYPES]})
        except (JoseError, ValueError, TypeError, KeyError, AttributeError) as error:
            raise _unhealthy(f"its keys cannot be read: {type(error).__name__}") from None

    async def _json(
        self, method: str, address: str, headers: Mapping[str, str] | None = None, body: str | None = None
    ) -> Mapping[str, Any]:
        """Raises Unhealthy, or WrongState where it says that what we ask is not right."""
        identity = {"accept": "application/json", "accept-encoding": "identity"}
        try:
            with anyio.fail_after(SECONDS):
                async with (
                    httpx.AsyncClient(verify=self._context, timeout=SECONDS) as http,
                    http.stream(method, address, headers=identity | dict(headers or {}), content=body) as answer,
                ):
                    text = bytearray()
                    async for piece in answer.aiter_raw():
                        text += piece
                        if len(text) > LARGEST:
                            raise _unhealthy("its answer is too long")
                    if method == "POST" and answer.status_code in (400, 401):
                        raise WrongState("provider_refused")
                    if answer.status_code != 200:
                        raise _unhealthy(f"http_{answer.status_code}")
        except (TimeoutError, httpx.HTTPError, httpx.InvalidURL, OSError) as error:
            raise _unhealthy(type(error).__name__) from None
        try:
            found = json.loads(text)
        except ValueError:
            raise _unhealthy("its answer is no JSON") from None
        if not isinstance(found, dict):
            raise _unhealthy("its answer is no JSON object")
        return found


def _unhealthy(why: str) -> Unhealthy:
    log.error("the OpenID Connect provider is of no use", extra={"reason": why})
    return Unhealthy("the OpenID Connect provider does not answer as it should")


def _refused(error: Exception) -> WrongState:
    log.warning(
        "an ID token was refused", extra={"reason": f"{type(error).__name__} {getattr(error, 'claim', '')}".strip()}
    )
    return WrongState("bad_token")
