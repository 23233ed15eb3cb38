"""What a confined process does with a film: decode it, keep it, draw it. Decoders stay out of its parent."""

from dataclasses import dataclass
from typing import TYPE_CHECKING

from dicom_gateway.display import Look
from dicom_gateway.picture import drawn, shape_of
from model.preprocess import PreprocessSpec, to_input
from worker.web.pictures.png import to_png
from worker.web.pictures.values import FilmPicture, Seen, SpooledFilm

if TYPE_CHECKING:
    from worker.web.pictures.kept import Decoded, KeptFilms


@dataclass(frozen=True, kw_only=True)
class Limits:
    max_pixels: int
    """Largest rows x columns that is decoded."""
    kept_bytes: int
    """Of decoded films that stay."""


class _Process:
    films: "KeptFilms | None" = None


def picture(film: SpooledFilm, least_side: int | None, side: int | None, look: Look, limits: Limits) -> FilmPicture:
    """Raises what `KeptFilms.of` raises."""
    from dicom_gateway.pixels import shown

    decoded = _decoded(film, least_side, limits)
    radiograph = shown(decoded.film, look)
    stored = radiograph.rows, radiograph.columns
    drawing = drawn(radiograph, shape_of(stored, radiograph.aspect, side))
    full_rows, full_columns = shape_of(stored, radiograph.aspect, None)
    return FilmPicture(
        png=to_png(drawing),
        rows=drawing.shape[0],
        columns=drawing.shape[1],
        full_rows=full_rows,
        full_columns=full_columns,
        window=radiograph.window,
        function=radiograph.function,
        by=radiograph.by,
        chosen=look.window is not None,
        least=decoded.least,
        greatest=decoded.greatest,
        low_is_white=decoded.low_is_white,
        notes=radiograph.notes,
    )


def seen(film: SpooledFilm, least_side: int | None, spec: PreprocessSpec, limits: Limits) -> Seen:
    """Raises what `KeptFilms.of` raises."""
    from dicom_gateway.pixels import shown

    radiograph = shown(_decoded(film, least_side, limits).film)
    image = to_input(
        radiograph.pixels,
        low=radiograph.low,
        high=radiograph.high,
        inverted=radiograph.inverted,
        aspect=radiograph.aspect,
        spec=spec,
    )
    return Seen(image=image, rows=radiograph.rows, columns=radiograph.columns, aspect=radiograph.aspect)


def _decoded(film: SpooledFilm, least_side: int | None, limits: Limits) -> "Decoded":
    from worker.web.pictures.kept import KeptFilms

    if _Process.films is None:
        _Process.films = KeptFilms(limits.kept_bytes)
    return _Process.films.of(film, max_pixels=limits.max_pixels, least_side=least_side)
