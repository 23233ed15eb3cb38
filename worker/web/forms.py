"""What a form must show before it changes anything: that it is ours."""

import hmac
from collections.abc import Mapping
from urllib.parse import SplitResult, parse_qsl, urlsplit

import anyio
from starlette.requests import ClientDisconnect, Request

LARGEST_FORM = 64 << 10
SECONDS = 20.0
MOST_FIELDS = 1000
FORM_TYPE = "application/x-www-form-urlencoded"


async def read_form(request: Request) -> dict[str, str] | None:
    """The last value of each field; None where it is none, too large, or not here in time."""
    if request.headers.get("content-type", "").partition(";")[0].strip().lower() != FORM_TYPE:
        return None
    body = bytearray()
    with anyio.move_on_after(SECONDS) as clock:
        try:
            async for piece in request.stream():
                body += piece
                if len(body) > LARGEST_FORM:
                    return None
        except ClientDisconnect:
            return None
    if clock.cancelled_caught:
        return None
    try:
        return dict(parse_qsl(body.decode("utf-8"), keep_blank_values=True, max_num_fields=MOST_FIELDS))
    except ValueError:
        return None


def is_ours(request: Request, form: Mapping[str, str], token: str) -> bool:
    """Whether it has the token, and no header of the browser says that another site sent it."""
    shown = form.get("csrf") or request.headers.get("x-csrf-token", "")
    return bool(token) and hmac.compare_digest(shown.encode(), token.encode()) and _of_this_site(request)


def is_led_from_elsewhere(request: Request) -> bool:
    """Whether another site, also one of our domain, has it asked for, by Sec-Fetch-Site (Fetch Metadata)."""
    return request.headers.get("sec-fetch-site") in ("same-site", "cross-site")


def is_shown_elsewhere(request: Request) -> bool:
    """The same, and not to open it as a page: another site has it as a picture, say."""
    opened = (request.headers.get("sec-fetch-mode"), request.headers.get("sec-fetch-dest")) == ("navigate", "document")
    return is_led_from_elsewhere(request) and not opened


def own_path(text: str) -> str:
    """A path of ours, to go to after signing in; "/" for anything else, such as //elsewhere.example."""
    parts = _parts(text) if text.isprintable() and "\\" not in text else None
    own = parts and not parts.scheme and not parts.netloc and text.startswith("/") and not text.startswith("//")
    return text if own else "/"


def _of_this_site(request: Request) -> bool:
    """By Sec-Fetch-Site (Fetch Metadata), in older browsers by Origin (RFC 6454 7). Without both, the token decides."""
    if site := request.headers.get("sec-fetch-site"):
        return site == "same-origin"
    origin = request.headers.get("origin")
    if origin is None:
        return True
    parts = _parts(origin)
    return parts is not None and parts.netloc == request.headers.get("host")


def _parts(address: str) -> SplitResult | None:
    """None where it is none, such as http://[ ."""
    try:
        return urlsplit(address)
    except ValueError:
        return None
