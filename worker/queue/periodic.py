"""What relay and worker do beside their main work: small tasks, each in its own thread, every few seconds."""

import logging
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from sqlalchemy.exc import SQLAlchemyError

from worker.db.causes import cause

log = logging.getLogger("xrayq.relay")


@dataclass(frozen=True, kw_only=True)
class Periodic:
    """One task."""

    name: str
    seconds: float
    """From the end of one run to the begin of the next."""
    run: Callable[[], object]


def start(tasks: Sequence[Periodic], stop: threading.Event) -> list[threading.Thread]:
    """Run each until `stop`. A run that fails is logged, and does not end its task or another's."""
    threads = [threading.Thread(target=_repeat, args=(task, stop), name=task.name, daemon=True) for task in tasks]
    for thread in threads:
        thread.start()
    return threads


def _repeat(task: Periodic, stop: threading.Event) -> None:
    while not stop.is_set():
        try:
            task.run()
        except SQLAlchemyError as error:
            log.warning("cannot run, will try again", extra={"action": task.name, "reason": cause(error)})
        except Exception as error:  # noqa: BLE001 - the thread's edge: one bad run must not end the task for good
            log.error("failed, will try again", extra={"action": task.name, "reason": type(error).__name__})
        stop.wait(task.seconds)
