"""Cookies: signed, out of scripts' reach, and sent to nobody else."""

import hashlib
import hmac

from itsdangerous import BadSignature, Signer
from starlette.requests import Request
from starlette.responses import Response

from worker.web.arrival import arrival_of


class Cookie:
    """One of ours. Over TLS its name begins with __Host-: no other host of the hospital's domain can set it."""

    def __init__(self, name: str, key: bytes, *, seconds: int | None = None, of: str = "") -> None:
        """
        Args:
            seconds: for which the browser keeps it; None until it is closed.
            of: what it was made under: made under something else, it is none of ours.
        """
        self._name = name
        self._seconds = seconds
        salt = f"xrayq {name} {of}"
        self._signer = Signer(key, salt=salt, digest_method=hashlib.sha256, key_derivation="hmac")

    def read(self, request: Request) -> str | None:
        """None where there is none, or we did not make it."""
        try:
            return self._signer.unsign(request.cookies.get(self._name_for(request), "")).decode()
        except (BadSignature, UnicodeError):
            return None

    def signed(self, value: str) -> str:
        """As the browser has it."""
        return self._signer.sign(value).decode()

    def set(self, request: Request, response: Response, value: str) -> None:
        response.set_cookie(
            self._name_for(request),
            self.signed(value),
            max_age=self._seconds,
            path="/",
            secure=arrival_of(request).secure,
            httponly=True,
            samesite="lax",
        )

    def clear(self, request: Request, response: Response) -> None:
        secure = arrival_of(request).secure
        response.delete_cookie(self._name_for(request), path="/", secure=secure, httponly=True, samesite="lax")

    def _name_for(self, request: Request) -> str:
        return f"__Host-{self._name}" if arrival_of(request).secure else self._name


def token_of(key: bytes, what: str) -> str:
    """For forms: only who has the key can make it, and it is of this session or name alone."""
    return hmac.digest(key, f"form {what}".encode(), hashlib.sha256).hex()
