"""Dead letters of one reason: back to work, or taken out for good; one, or all that the page names."""

from collections.abc import Sequence
from dataclasses import dataclass

from starlette.responses import Response

from worker.dead_letters import meaning_of, step_of
from worker.errors import NotFound, WorkerError, WrongState
from worker.instances import InstanceView, count_instances, find, list_instances, reject, requeue
from worker.states import NO_STUDY, State
from worker.web.operations import parts
from worker.web.page import Ask, Page
from worker.web.people import WebRole
from worker.web.site import go_to

MOST_SHOWN = 100
DONE = {"requeue": "requeued", "reject": "rejected"}


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """What became of the films of a form."""

    done: int
    left: tuple[str, ...] = ()
    """Why, of those that were not done."""
    not_told: tuple[str, ...] = ()
    """Destinations that have a result of a film before, and cannot be told."""


def letters(ask: Ask) -> Response:
    """The newest of a reason."""
    return _page(ask)


def confirm(ask: Ask) -> Response:
    """What would be done, before it is."""
    action, reason = _action(ask), ask.path("reason")
    if chosen := ask.query("film"):
        found = find(ask.site.database, chosen)
        films = [film for film in found if film.state == State.FAILED and film.reason == reason]
    else:
        films = _failed(ask, reason, parts.MOST_AT_ONCE)
    if not films:
        raise NotFound("No film failed for this reason any more: somebody was faster. The overview shows those left.")
    return ask.site.page(
        "operations_confirm_letters.html",
        ask,
        action=action,
        reason=reason,
        meaning=meaning_of(reason),
        films=films,
        number=len(films) if chosen else count_instances(ask.site.database, state=State.FAILED, reason=reason),
        alone=bool(chosen),
    )


def act(ask: Ask) -> Response:
    """On those films that the confirmation named, where they are dead letters still."""
    action = _action(ask)
    done = _done(ask, action, _ids(ask))
    parts.of(ask).changed()
    if done.left or done.not_told:
        return _page(ask, done, action)
    return go_to(f"/operations/dead-letters/{ask.path('reason')}?{DONE[action]}={done.done}")


def _done(ask: Ask, action: str, ids: Sequence[int]) -> Outcome:
    number, left = 0, []
    not_told: list[str] = []
    for key in ids:
        try:
            if action == "requeue":
                requeue(ask.site.database, key, ask.actor)
            else:
                take_back = parts.of(ask).options.take_back
                not_told += reject(ask.site.database, key, ask.actor, take_back, only=State.FAILED).back.not_told
            number += 1
        except WorkerError as error:
            left.append(str(error))
    return Outcome(done=number, left=tuple(left), not_told=tuple(dict.fromkeys(not_told)))


def _page(ask: Ask, outcome: Outcome | None = None, action: str = "") -> Response:
    reason, told = ask.path("reason"), ""
    if outcome:
        told = f"{outcome.done} {DONE[action]}"
    for word in DONE.values():
        if ask.query(word).isdecimal():
            told = f"{int(ask.query(word)[:9])} {word}"
    return ask.site.page(
        "operations_letters.html",
        ask,
        status=409 if outcome and outcome.left else 200,
        reason=reason,
        meaning=meaning_of(reason),
        step=step_of(reason),
        films=_failed(ask, reason, MOST_SHOWN),
        number=count_instances(ask.site.database, state=State.FAILED, reason=reason),
        can_requeue=reason != NO_STUDY,
        told=told,
        outcome=outcome,
        most_at_once=parts.MOST_AT_ONCE,
    )


def _failed(ask: Ask, reason: str, limit: int) -> list[InstanceView]:
    return list_instances(ask.site.database, state=State.FAILED, reason=reason, limit=limit, newest_first=True)


def _action(ask: Ask) -> str:
    if ask.path("action") not in DONE:
        raise NotFound("A dead letter can be requeued or rejected.")
    return ask.path("action")


def _ids(ask: Ask) -> list[int]:
    texts = ask.form.get("films", "").split(",")
    if not all(text.isascii() and text.isdecimal() and len(text) < 19 for text in texts):
        raise WrongState("name the films first")
    if len(texts) > parts.MOST_AT_ONCE:
        raise WrongState(f"{parts.MOST_AT_ONCE} films at most at once")
    return list(dict.fromkeys(map(int, texts)))


PAGES = (
    Page(path="/operations/dead-letters/{reason}", least=WebRole.VIEWER, answer=letters),
    Page(path="/operations/dead-letters/{reason}/{action}", least=WebRole.OPERATOR, answer=confirm),
    Page(path="/operations/dead-letters/{reason}/{action}", method="POST", least=WebRole.OPERATOR, answer=act),
)
