"""The four files of a report, written into a folder."""

import csv
import json
import os
from datetime import date, datetime
from pathlib import Path
from typing import Any

from sqlalchemy import Engine

from model.notice import NOTICE
from worker.db.span import Span
from worker.nightly import films
from worker.nightly.content import NightOptions, night_content
from worker.nightly.page.page import render
from worker.nightly.published import INSTANCES, PAGE, REFUSED, REPORT

FORMULA = ("=", "+", "-", "@", "\t", "\r")


def write(engine: Engine, day: date, options: NightOptions, folder: Path) -> dict[str, Any]:
    """Make the report of a day in a folder that exists; files that are there are replaced. Returns its content.

    In a CSV, text that a spreadsheet would run as a formula has an apostrophe before it: an AE title such as "=1+1".
    Its last column holds the notice in every row: rows are copied out, and a line of another kind breaks readers.
    """
    content = night_content(engine, day, options)
    span = Span(**{edge: datetime.fromisoformat(content[edge]) for edge in ("start", "end")})
    with _opened(folder / INSTANCES) as file:
        writer = csv.DictWriter(file, (*films.INSTANCE_COLUMNS, "notice"))
        writer.writeheader()
        for row in films.instances(engine, span):
            lists = ("probabilities", "flags", "identity_changed")
            text = {name: json.dumps(row[name]) for name in lists if row[name] is not None}
            writer.writerow({name: _cell(value) for name, value in (row | text | {"notice": NOTICE}).items()})
    with _opened(folder / REFUSED) as file:
        rows = csv.writer(file)
        rows.writerow(("what", "calling_ae", "code", "count", "notice"))
        for what in ("refused", "contexts_refused", "not_associated"):
            for calling_ae, codes in content[what].items():
                rows.writerows((what, _cell(calling_ae), _cell(code), codes[code], NOTICE) for code in codes)
    with _opened(folder / PAGE) as file:
        file.write(render(content))
    with _opened(folder / REPORT) as file:
        file.write(json.dumps(content, indent=2) + "\n")
    return content


def _cell(value: Any) -> Any:
    return f"'{value}" if isinstance(value, str) and value.startswith(FORMULA) else value


def _opened(path: Path) -> Any:
    """For writing, readable by us alone."""
    return open(path, "w", encoding="utf-8", newline="", opener=lambda name, flags: os.open(name, flags, 0o600))
