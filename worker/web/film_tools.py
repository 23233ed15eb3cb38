"""What the page of a film does beyond asking the database; each is handed in by whoever reads the settings."""

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from threading import Lock
from urllib.parse import quote

from sqlalchemy import Connection

from worker.bundles.replay import Replayed
from worker.errors import WrongState
from worker.instances import InstanceView, TakenBack
from worker.web.pictures.film_pictures import FilmPictures
from worker.web.pictures.values import SpooledFilm
from worker.web.turns import Places

MOST_PICTURES, OF_ONE = 24, 6
"""Requests for pictures and maps that wait or are answered: in all, and of one browser, which has six connections to a
site over HTTP/1.1. A child has room for those of two browsers, and for more."""
ONE_AT_A_TIME = Lock()
"""A replay opens a network of its own: two at once would take the memory of two."""


@dataclass(frozen=True, kw_only=True)
class FilmTools:
    """Parts of `worker.web.site.Site`."""

    replay: Callable[[InstanceView], list[Replayed]]
    """Scores of a film once more. Raises WorkerError."""
    take_back: Callable[[Connection, int, datetime], TakenBack]
    """See `worker.instances.reject`."""
    pictures: FilmPictures
    path_of: Callable[[str], Path]
    """Of the received film of a digest, in the spool."""
    places: Places = field(default_factory=lambda: Places(most=MOST_PICTURES, of_one=OF_ONE))
    """For requests of pictures."""
    viewer: str = ""
    """URL of the site's own viewer, with {study}; "" for none."""

    def spooled(self, film: InstanceView) -> SpooledFilm:
        return SpooledFilm(path=self.path_of(film.digest), digest=film.digest)

    def replayed(self, film: InstanceView) -> list[Replayed]:
        """Raises WrongState while another replay runs, and what `replay` raises."""
        if not ONE_AT_A_TIME.acquire(blocking=False):
            raise WrongState("another film is scored again just now: try it in a moment")
        try:
            return self.replay(film)
        finally:
            ONE_AT_A_TIME.release()

    def viewer_of(self, film: InstanceView) -> str:
        """Where the site's viewer shows the film's study; "" where it cannot."""
        study = film.study_instance_uid
        return self.viewer.replace("{study}", quote(study, safe="")) if study else ""
