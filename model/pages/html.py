"""HTML of the reports: tables, figures and films, all inline, so the page opens without a network.

`Markup("<b>{}</b>").format(text)` escapes what it is given. The linter (S704) refuses markup made in any other way.
"""

import base64
from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np
from markupsafe import Markup, escape
from numpy.typing import NDArray

from model.pages.svg import Chart

STYLE = Path(__file__).with_name("report.css")


def page(title: str, notice: str, body: Iterable[Markup], *, more_style: str = "") -> str:
    html = Markup(
        '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n<title>{title}</title>\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        '<style>\n{style}</style>\n</head>\n<body>\n<p class="notice">{notice}</p>\n<main>\n'
        '{body}\n</main>\n<p class="notice">{notice}</p>\n</body>\n</html>\n'
    ).format(
        title=title,
        style=Markup(STYLE.read_text(encoding="utf-8") + more_style),  # noqa: S704 - both are files of this package
        notice=notice,
        body=Markup("\n").join(body),
    )
    return str(html)  # plain text: a Markup would escape whatever is joined to it


def section(anchor: str, title: str, *parts: object) -> Markup:
    inner = Markup("\n").join(map(escape, parts))
    return Markup('<section id="{}">\n<h2>{}</h2>\n{}\n</section>').format(anchor, title, inner)


def paragraph(text: object, kind: str = "") -> Markup:
    return Markup("<p{}>{}</p>").format(_class(kind), text)


def bullets(lines: Iterable[object]) -> Markup:
    return Markup("<ul>{}</ul>").format(Markup("").join(Markup("<li>{}</li>").format(line) for line in lines))


def table(
    columns: Sequence[object], rows: Iterable[Sequence[object]], *, caption: str, strong: frozenset[int] = frozenset()
) -> Markup:
    """First column: row headings. Rows whose number is in `strong` stand out."""
    heading, cell = Markup('<th scope="col">{}</th>'), Markup("<td>{}</td>")
    lines = []
    for number, row in enumerate(rows):
        first, *rest = row
        cells = Markup("").join(cell.format(value) for value in rest)
        kind = _class("strong" if number in strong else "")
        lines.append(Markup('<tr{}><th scope="row">{}</th>{}</tr>').format(kind, first, cells))
    return Markup(
        '<div class="scroll"><table>\n<caption>{}</caption>\n<thead><tr>{}</tr></thead>\n<tbody>{}'
        "</tbody></table></div>"
    ).format(caption, Markup("").join(heading.format(column) for column in columns), Markup("\n").join(lines))


def figure(chart: Chart, caption: object) -> Markup:
    source = "data:image/svg+xml;base64," + base64.b64encode(chart.svg).decode()
    return Markup('<figure class="chart"><img src="{}" alt="{}"><figcaption>{}</figcaption></figure>').format(
        source, chart.alt, caption
    )


def film(pictures: Sequence[tuple[NDArray[np.uint8], str]], caption: object) -> Markup:
    """Pictures of one film side by side, each [size, size] grey or [size, size, 3] RGB with its alternative text."""
    images = (Markup('<img src="{}" alt="{}">').format(_jpeg(picture), alt) for picture, alt in pictures)
    return Markup('<figure class="film"><div class="pictures">{}</div><figcaption>{}</figcaption></figure>').format(
        Markup("").join(images), caption
    )


def films(pictures: Iterable[Markup], kind: str = "") -> Markup:
    return Markup('<div class="films {}">{}</div>').format(kind, Markup("\n").join(pictures))


def _jpeg(picture: NDArray[np.uint8]) -> str:
    import cv2  # not in the gateway's image, where the relay makes the nightly report

    straight = picture if picture.ndim == 2 else np.ascontiguousarray(picture[:, :, ::-1])
    _, coded = cv2.imencode(".jpg", straight, [cv2.IMWRITE_JPEG_QUALITY, 82])
    return "data:image/jpeg;base64," + base64.b64encode(coded.tobytes()).decode()


def _class(name: str) -> Markup:
    return Markup(' class="{}"').format(name) if name else Markup("")
