"""Decoded films that stay: which requests one serves, and for how long."""

from pathlib import Path

import pytest
from pydicom import uid

from model.digest import file_digest
from tests.phantoms import chest_pixels, write_film
from worker.errors import Unhealthy
from worker.web.pictures.kept import Decoded, KeptFilms
from worker.web.pictures.values import SpooledFilm

BYTES = 512 * 448 * 2
"""Of a phantom."""


def film(folder: Path, number: int = 0, syntax: str = uid.ExplicitVRLittleEndian) -> SpooledFilm:
    path = write_film(folder, f"film{number}", syntax=syntax, pixels=chest_pixels())
    return SpooledFilm(path=path, digest=file_digest(path))


def asked(films: KeptFilms, one: SpooledFilm, least_side: int | None = None) -> Decoded:
    return films.of(one, max_pixels=1 << 30, least_side=least_side)


def test_the_last_few_stay_within_so_many_bytes(tmp_path: Path) -> None:
    films, made = KeptFilms(2 * BYTES), [film(tmp_path, number) for number in range(3)]
    first, second = (asked(films, one) for one in made[:2])
    assert asked(films, made[0]) is first
    asked(films, made[2])
    assert asked(films, made[0]) is first
    assert asked(films, made[1]) is not second, "it was asked for the longest ago"
    small = KeptFilms(BYTES - 1)
    assert asked(small, made[0]) is not asked(small, made[0]), "larger than all that may stay"


@pytest.mark.parametrize(
    ("syntax", "levels"), [(uid.JPEG2000Lossless, True), (uid.HTJ2KLossless, False), (uid.JPEGLSLossless, False)]
)
def test_a_film_with_levels_is_decoded_for_each_size(syntax: str, levels: bool, tmp_path: Path) -> None:
    films, one = KeptFilms(9 * BYTES), film(tmp_path, syntax=syntax)
    small = asked(films, one, 200)
    assert small.film.pixels.shape == ((256, 224) if levels else (512, 448))
    assert (asked(films, one) is small) != levels
    assert asked(films, one).film.pixels.shape == (512, 448)
    assert asked(films, one, 200) is small
    large = asked(films, one, 448)
    assert (large is small) != levels
    assert asked(films, one, 449) is large, "it came in full: it would again"


def test_a_film_that_is_gone_or_altered_is_not_shown_from_memory(tmp_path: Path) -> None:
    films, one = KeptFilms(9 * BYTES), film(tmp_path)
    asked(films, one)
    received = one.path.read_bytes()
    one.path.write_bytes(b"another film")
    with pytest.raises(Unhealthy):
        asked(films, one)
    one.path.write_bytes(received)
    assert asked(films, one).film.pixels.shape == (512, 448)
    one.path.unlink()
    with pytest.raises(FileNotFoundError):
        asked(films, one)
