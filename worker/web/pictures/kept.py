"""The last few decoded films of a process, so that another window of one does not decode it again."""

from collections import OrderedDict
from dataclasses import dataclass

from dicom_gateway.display import low_is_white, value_range
from dicom_gateway.pixels import StoredFilm, read_stored
from model.digest import file_digest
from worker.errors import Unhealthy
from worker.web.pictures.values import SpooledFilm

Stamp = tuple[int, int, int]
"""Of a file: another one has another."""


@dataclass(frozen=True, kw_only=True)
class Decoded:
    film: StoredFilm
    stamp: Stamp
    """Of the file when it was found to be the film that was received."""
    asked: int | None
    """`least_side` that it was decoded with."""
    least: float
    greatest: float
    low_is_white: bool

    def serves(self, least_side: int | None) -> bool:
        """Whether decoding it with another `least_side` would give the same."""
        if least_side == self.asked or not self.film.has_levels:
            return True
        in_full = self.film.pixels.shape == (self.film.image.rows, self.film.image.columns)
        return in_full and self.asked is not None and (least_side is None or least_side > self.asked)


class KeptFilms:
    """Of one process, and one thread."""

    def __init__(self, most_bytes: int) -> None:
        """
        Args:
            most_bytes: of pixels; a larger film is not kept.
        """
        self._most_bytes = most_bytes
        self._films: OrderedDict[tuple[str, int | None], Decoded] = OrderedDict()

    def of(self, film: SpooledFilm, *, max_pixels: int, least_side: int | None) -> Decoded:
        """Raises PixelError, OSError, MemoryError; Unhealthy where the file is not the film that was received."""
        stamp = _stamp(film)  # kept or not, it is shown only while it is there, and as it was received
        for key, kept in self._films.items():
            if key[0] == film.digest and kept.stamp == stamp and kept.serves(least_side):
                self._films.move_to_end(key)
                return kept
        decoded = _decoded(film, stamp, max_pixels, least_side)
        self._films[film.digest, least_side] = decoded
        while sum(kept.film.pixels.nbytes for kept in self._films.values()) > self._most_bytes:
            self._films.popitem(last=False)
        return decoded


def _stamp(film: SpooledFilm) -> Stamp:
    found = film.path.stat()
    return found.st_ino, found.st_mtime_ns, found.st_ctime_ns


def _decoded(film: SpooledFilm, stamp: Stamp, max_pixels: int, least_side: int | None) -> Decoded:
    if file_digest(film.path) != film.digest:
        raise Unhealthy("the file in the spool is not the film that was received")
    stored = read_stored(film.path, max_pixels=max_pixels, least_side=least_side)
    least, greatest = value_range(stored.pixels, stored.dataset, stored.image)
    return Decoded(
        film=stored,
        stamp=stamp,
        asked=least_side,
        least=least,
        greatest=greatest,
        low_is_white=low_is_white(stored.dataset, stored.image),
    )
