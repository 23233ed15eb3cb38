"""`POST /studies` and `POST /studies/{study}`: the Store transaction of PS3.18 10.5, as origin server."""

import asyncio
import json
import logging
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route
from starlette.types import Message, Receive, Scope, Send

from dicom_gateway.few_lines import FewLines
from dicom_gateway.observer import NO_RIGHT, NOT_PROVEN, UNKNOWN, UNKNOWN_LIMIT, Observer, tell
from dicom_gateway.peers import EVERYBODY, Connected, Entry, Right, Standing
from dicom_gateway.store_response import store_response
from dicom_gateway.values import is_valid_uid
from worker.http_push.admission import Admission
from worker.http_push.last_answer import LastAnswer, LastWords, refused
from worker.http_push.media_types import answered_with, boundary_of
from worker.http_push.request_body import MOST_BYTES, Intake, PayloadFault, RequestBody

log = logging.getLogger("xrayq.push")

MOST_REQUESTS = 16
"""At once; each may hold a thread and a database connection."""
RETRY_SECONDS = 30
FLOOR_SECONDS, FLOOR_BYTES = 60.0, 1 << 20
"""A payload brings so many bytes in so many seconds of waiting for it, or its request is given up."""


class PushApp:
    """An ASGI application. Its connection stands in `scope["state"]["connection"]`."""

    def __init__(
        self,
        intake: Intake,
        admission: Admission,
        *,
        silence: float,
        answered: Callable[[str, int], None],
        standing: Callable[[Connected], Standing] = lambda _: EVERYBODY,
        unknown_share: float = 1.0,
    ) -> None:
        """
        Args:
            silence: seconds without a byte of a payload before its request is given up.
            answered: told the calling AE, "" where it is not known, and the HTTP status of each answer.
            standing: as of `dicom_gateway.scp.Gateway`.
            unknown_share: of MOST_REQUESTS, for peers whose films go into quarantine; one at least.
        """
        self._standing = standing
        self._most_quarantined = max(1, int(MOST_REQUESTS * unknown_share))
        self._quarantined = 0
        self._intake = intake
        self._admission = admission
        self._few = FewLines(log)
        self._silence = silence
        self._answered = answered
        self._threads = ThreadPoolExecutor(MOST_REQUESTS, thread_name_prefix="push")
        self._running = 0
        self._routes = Starlette(
            routes=[
                Route("/studies", self._store, methods=["POST"]),
                Route("/studies/{study}", self._store, methods=["POST"]),
            ],
            exception_handlers={HTTPException: refused},
        )
        self._routes.router.redirect_slashes = False  # to a host that the peer names

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        connection = scope["state"]["connection"]

        async def counting(message: Message) -> None:
            if message["type"] == "http.response.start":
                self._answered(scope["state"].get("caller", ""), message["status"])
            await send(message)

        try:
            await self._routes(scope, receive, counting)
        except TimeoutError:
            log.warning("the answer was not taken", extra={"peer": connection.address})
        except Exception as error:  # noqa: BLE001 - uvicorn would log the text, which may quote a request
            log.error("request failed", extra={"peer": connection.address, "reason": type(error).__name__})
        finally:
            connection.leave()

    @property
    def observer(self) -> Observer:
        return self._intake.observer

    def close(self) -> None:
        """No further payload is taken."""
        self._threads.shutdown(wait=False, cancel_futures=True)

    async def _store(self, request: Request) -> Response:
        connection = request.scope["state"]["connection"]
        try:
            caller = self._admission.caller(request.headers.get("authorization", ""), connection.common_name)
        except HTTPException:
            tell(self.observer.rejected, "", NOT_PROVEN, connection.address)
            raise
        sent_by = Connected(
            calling_ae=caller,
            address=connection.address,
            certificate=connection.certificate,
            proven=bool(self._admission.tokens),
        )
        strange = self._let_in(sent_by)
        request.scope["state"]["caller"] = caller
        connection.admitted = True
        media_type, boundary = answered_with(request.headers), boundary_of(request.headers)
        study = request.path_params.get("study", "")
        if study and not is_valid_uid(study):
            raise HTTPException(400, "the path names no valid Study Instance UID")
        if int(request.headers.get("content-length", "0")) > MOST_BYTES:
            raise HTTPException(413, PayloadFault.TOO_LARGE.words)
        if self._running >= MOST_REQUESTS:
            raise HTTPException(503, "too many requests at once", {"Retry-After": str(RETRY_SECONDS)})
        if strange and self._quarantined >= self._most_quarantined:
            tell(self.observer.rejected, caller, UNKNOWN_LIMIT, connection.address)
            raise HTTPException(503, "too many requests of unknown peers at once", {"Retry-After": str(RETRY_SECONDS)})
        self._running += 1
        self._quarantined += strange
        intake = replace(self._intake, spool=self._intake.spool.for_strangers()) if strange else self._intake
        body = RequestBody(intake, boundary, sent_by=sent_by, study=study)
        try:
            fault, unread = await self._read(request, body)
            await self._in_thread(body.end, fault)
        except Exception as error:  # noqa: BLE001 - the request's edge: the text may quote a film
            log.error("push failed", extra={"reason": type(error).__name__, "calling_ae": caller})
            return LastWords("failed, see the log\n", 500)
        finally:
            await self._in_thread(body.discard)
            self._running -= 1
            self._quarantined -= strange
        answer = self._answer(body, media_type, connection.address, caller)
        answer.unread = unread
        return answer

    def _let_in(self, sent_by: Connected) -> bool:
        """Whether what it brings goes into quarantine. Raises HTTPException 403."""
        found, caller = self._standing(sent_by), sent_by.calling_ae
        if found.unknown and found.entry is not Entry.ALLOWED:
            tell(self.observer.unknown, caller, found.unknown.name, found.entry)
            known = {"calling_ae": caller, "peer": sent_by.address}
            self._few.warning("unknown peer", known | {"reason": found.unknown, "state": found.entry})
            if found.entry is Entry.REJECTED:
                tell(self.observer.rejected, caller, f"{UNKNOWN}{found.unknown.name}", sent_by.address)
                raise HTTPException(403, "not in the table of peers")
        if Right.STORE not in found.rights:
            tell(self.observer.rejected, caller, NO_RIGHT, sent_by.address)
            raise HTTPException(403, "no right to store")
        return found.entry is Entry.QUARANTINED

    async def _read(self, request: Request, body: RequestBody) -> tuple[PayloadFault | None, bool]:
        """The payload to its end, or to what ended it before; and whether more of it comes."""
        waited, brought = 0.0, 0
        while True:
            began = time.monotonic()
            try:
                async with asyncio.timeout(self._silence):
                    message = await request.receive()
            except TimeoutError:
                return PayloadFault.SLOW, True
            if message["type"] == "http.disconnect":
                return PayloadFault.GONE, False
            waited += time.monotonic() - began
            if piece := message.get("body"):
                brought += len(piece)
                await self._in_thread(body.feed, piece)
            more = bool(message.get("more_body"))
            if body.fault or not more:
                return body.fault, more
            if waited > FLOOR_SECONDS:
                if brought < FLOOR_BYTES:
                    return PayloadFault.SLOW, True
                waited, brought = 0.0, 0

    async def _in_thread(self, work: Callable[..., None], *arguments: object) -> None:
        await asyncio.get_running_loop().run_in_executor(self._threads, work, *arguments)

    def _answer(self, body: RequestBody, media_type: str, address: str, caller: str) -> LastAnswer:
        known = {"calling_ae": caller, "peer": address, "count": body.kept, "status": body.status}
        log.info("pushed by web", extra=known | ({"reason": body.fault.words} if body.fault else {}))
        content = json.dumps(store_response(body.answers).to_json_dict()).encode()
        headers = {"Retry-After": str(RETRY_SECONDS)} if body.status == 503 else {}
        return LastAnswer(content, body.status, headers, media_type)
