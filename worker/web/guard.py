"""In front of each page: who asks, may they, and is a form one of ours. Behind it: faults become pages."""

import logging
from collections.abc import Awaitable, Callable
from urllib.parse import quote

from sqlalchemy.exc import SQLAlchemyError
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import PlainTextResponse, RedirectResponse, Response
from starlette.types import ASGIApp, Receive, Scope, Send

from worker.errors import NotFound, WorkerError, WrongState
from worker.web.doors import Doors
from worker.web.forms import is_led_from_elsewhere, is_ours, is_shown_elsewhere, read_form
from worker.web.headers import FORGET
from worker.web.page import Ask, Page
from worker.web.people import WebRole
from worker.web.site import Site

log = logging.getLogger("xrayq.web")

Endpoint = Callable[[Request], Awaitable[Response]]
NO_PAGE = "There is no such page."


def guarded(page: Page, site: Site, doors: Doors) -> Endpoint:
    """What Starlette calls for a page."""

    async def serve(request: Request) -> Response:
        try:
            visit = await run_in_threadpool(doors.visit, request)
        except SQLAlchemyError as error:
            log.warning("the database did not answer", extra={"reason": type(error).__name__})
            return site.no_database()
        if visit is None:
            answer = _sign_in_first(site, request)
            if request.cookies:  # of a session that has ended, maybe
                answer.headers.update(FORGET)
            return answer
        form = await read_form(request) if page.method == "POST" else {}
        if form is None:
            return PlainTextResponse("this is no form of ours", 413)
        ask = Ask(site=site, visit=visit, request=request, form=form)
        if page.method == "POST" and not is_ours(request, form, visit.csrf):
            return _fault(ask, 403, "This form is too old, or came from another site: load the page again.")
        if page.method == "GET" and (is_led_from_elsewhere if page.part else is_shown_elsewhere)(request):
            return _fault(ask, 403, "Another site asked for this. Open it from a page here.")
        if not visit.person.role.includes(page.least):
            return _fault(ask, 403, f"This needs the role {page.least}; yours is {visit.person.role}.")
        return await run_in_threadpool(_answered, page, ask)

    return serve


def no_page(site: Site, doors: Doors) -> ASGIApp:
    """What no page answers, by path or by method: who is not signed in does not learn that there is none."""
    nothing = Page(path="", least=WebRole.VIEWER, answer=_not_found)

    async def serve(scope: Scope, receive: Receive, send: Send) -> None:
        answer = await guarded(nothing, site, doors)(Request(scope, receive))
        await answer(scope, receive, send)

    return serve


def _not_found(ask: Ask) -> Response:
    return _fault(ask, 404, NO_PAGE)


def _answered(page: Page, ask: Ask) -> Response:
    try:
        return page.answer(ask)
    except NotFound as error:
        return _fault(ask, 404, str(error))
    except WrongState as error:
        return _fault(ask, 409, str(error))
    except WorkerError as error:
        return _fault(ask, 400, str(error))
    except SQLAlchemyError as error:
        log.warning("the database did not answer", extra={"reason": type(error).__name__})
        return _fault(
            ask, 503, "The database does not answer now: try again in a moment. Films are received meanwhile."
        )


def _fault(ask: Ask, status: int, text: str) -> Response:
    return ask.site.page("fault.html", ask, status=status, text=text, code=status)


def _sign_in_first(site: Site, request: Request) -> Response:
    if request.headers.get("hx-request") == "true":
        return PlainTextResponse("sign in first", 401, {"hx-redirect": "/sign-in"})
    if request.method != "GET":
        text = "Nothing was changed: you are not signed in, or were idle for too long. Sign in, and do it once more."
        return site.outside("outside.html", status=401, heading="Sign in first", text=text, again="/sign-in")
    back = request.url.path + (f"?{request.url.query}" if request.url.query else "")
    return RedirectResponse(f"/sign-in?next={quote(back, safe='')}", 303)
