"""What nobody foresaw: a page that says so, and where it happened in the log. The error's text is kept out of both: it
may quote what somebody typed, or a row."""

import logging
import traceback
from pathlib import Path

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from worker.web.site import Site

log = logging.getLogger("xrayq.web")

OURS, PACKAGES = Path(__file__).parents[2], ("dicom_gateway", "model", "worker")


class Unexpected:
    """Answers 500 for an exception, whether of a page or of what stands before it."""

    def __init__(self, app: ASGIApp, site: Site) -> None:
        self._app = app
        self._site = site

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        begun = False

        async def noted(message: Message) -> None:
            nonlocal begun
            begun = True
            await send(message)

        try:
            await self._app(scope, receive, noted)
        except Exception as error:
            log.error("a page failed", extra={"reason": f"{type(error).__name__} {place(error)}"})
            if begun:  # too late for a page: the connection ends
                raise
            await self._site.outside(
                "outside.html",
                status=500,
                heading="This page failed",
                text="That is a fault of xrayq. Whoever looks after it finds the place in its log.",
            )(scope, receive, send)


def place(error: BaseException) -> str:
    """file:line of ours that it came through last, such as worker/web/forms.py:44; of a library where that is all."""
    frames = [(Path(frame.filename), frame.lineno) for frame in traceback.extract_tb(error.__traceback__)]
    ours = [(path.relative_to(OURS), line) for path, line in frames if _is_ours(path)]
    path, line = (ours or frames)[-1]
    return f"{path}:{line}"


def _is_ours(path: Path) -> bool:
    """Not what every request passes, nor a library that is installed beside us or below us."""
    return path.is_relative_to(OURS) and path.relative_to(OURS).parts[0] in PACKAGES and path != Path(__file__)
