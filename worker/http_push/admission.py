"""Who may push by web, and under which AE title the ledger has it."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass

from starlette.exceptions import HTTPException

from worker.bearer import CHALLENGE, NamedToken, bearer
from worker.setting_values import title

NAMELESS = "STOW"
"""Calling AE title of what comes to a loopback address where no token is asked for."""


@dataclass(frozen=True, kw_only=True)
class Admission:
    tokens: Sequence[NamedToken]
    """Named by AE titles. Where there are some, everybody has to show one: a proxy on this machine makes every peer a
    local one."""
    calling_aes: Collection[str] = ()
    """AE titles that may push at all, with a token too; empty: every one."""
    certified: bool
    """Everybody has shown a certificate that an authority of ours signed."""

    def caller(self, authorization: str, common_name: str) -> str:
        """The calling AE title. Raises HTTPException: 401; 403 for a certificate that gives no name, or a title that
        may not push.

        Args:
            common_name: of the peer's certificate; "" where it has none.
        """
        found = self._named(authorization, common_name)
        if self.calling_aes and found not in self.calling_aes:
            raise HTTPException(403, "this AE title is not one that may connect (XRAYQ_CALLING_AES)")
        return found

    def _named(self, authorization: str, common_name: str) -> str:
        if self.tokens:
            named = bearer(self.tokens, authorization)
            if named is None:
                raise HTTPException(401, "a bearer token is needed", {"WWW-Authenticate": CHALLENGE})
            return named
        if not self.certified:
            return NAMELESS
        try:
            return title(common_name)
        except ValueError:
            raise HTTPException(
                403, "the common name of the certificate is no AE title: XRAYQ_STOW_TOKENS names peers otherwise"
            ) from None
