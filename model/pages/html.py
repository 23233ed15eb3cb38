"""HTML of the report: tables, figures and films, all inline, so the page opens without a network."""

import base64
from collections.abc import Iterable, Sequence
from html import escape
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from model.pages.figures import Chart

STYLE = Path(__file__).with_name("report.css")


class Html(str):
    """Text that is HTML already: everything else is escaped."""

    __slots__ = ()


def safe(text: object) -> str:
    return text if isinstance(text, Html) else escape(str(text))


def page(title: str, notice: str, body: Iterable[Html], *, more_style: str = "") -> str:
    style = STYLE.read_text(encoding="utf-8") + more_style
    return (
        f'<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n<title>{safe(title)}</title>\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f'<style>\n{style}</style>\n</head>\n<body>\n<p class="notice">{safe(notice)}</p>\n<main>\n'
        + "\n".join(body)
        + f'\n</main>\n<p class="notice">{safe(notice)}</p>\n</body>\n</html>\n'
    )


def section(anchor: str, title: str, *parts: object) -> Html:
    inner = "\n".join(safe(part) for part in parts)
    return Html(f'<section id="{anchor}">\n<h2>{safe(title)}</h2>\n{inner}\n</section>')


def paragraph(text: object, kind: str = "") -> Html:
    return Html(f"<p{_class(kind)}>{safe(text)}</p>")


def bullets(lines: Iterable[object]) -> Html:
    return Html("<ul>" + "".join(f"<li>{safe(line)}</li>" for line in lines) + "</ul>")


def table(
    columns: Sequence[object], rows: Iterable[Sequence[object]], *, caption: str, strong: frozenset[int] = frozenset()
) -> Html:
    """First column: row headings. Rows whose number is in `strong` stand out."""
    head = "".join(f'<th scope="col">{safe(column)}</th>' for column in columns)
    lines = []
    for number, row in enumerate(rows):
        first, *rest = row
        cells = "".join(f"<td>{safe(cell)}</td>" for cell in rest)
        kind = _class("strong" if number in strong else "")
        lines.append(f'<tr{kind}><th scope="row">{safe(first)}</th>{cells}</tr>')
    return Html(
        f'<div class="scroll"><table>\n<caption>{safe(caption)}</caption>\n<thead><tr>{head}</tr></thead>\n<tbody>'
        + "\n".join(lines)
        + "</tbody></table></div>"
    )


def figure(chart: Chart, caption: object) -> Html:
    source = "data:image/svg+xml;base64," + base64.b64encode(chart.svg).decode()
    return Html(
        f'<figure class="chart"><img src="{source}" alt="{escape(chart.alt)}"><figcaption>{safe(caption)}</figcaption>'
        "</figure>"
    )


def film(pictures: Sequence[tuple[NDArray[np.uint8], str]], caption: object) -> Html:
    """Pictures of one film side by side, each [size, size] grey or [size, size, 3] RGB with its alternative text."""
    images = "".join(f'<img src="{_jpeg(picture)}" alt="{escape(alt)}">' for picture, alt in pictures)
    return Html(
        f'<figure class="film"><div class="pictures">{images}</div><figcaption>{safe(caption)}</figcaption></figure>'
    )


def films(pictures: Iterable[Html], kind: str = "") -> Html:
    return Html(f'<div class="films {kind}">' + "\n".join(pictures) + "</div>")


def _jpeg(picture: NDArray[np.uint8]) -> str:
    import cv2  # not in the gateway's image, where the relay makes the nightly report

    straight = picture if picture.ndim == 2 else np.ascontiguousarray(picture[:, :, ::-1])
    _, coded = cv2.imencode(".jpg", straight, [cv2.IMWRITE_JPEG_QUALITY, 82])
    return "data:image/jpeg;base64," + base64.b64encode(coded.tobytes()).decode()


def _class(name: str) -> str:
    return f' class="{name}"' if name else ""
