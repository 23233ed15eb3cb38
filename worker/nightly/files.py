"""The four files of a report, written into a folder."""

import csv
import json
import os
from dataclasses import replace
from datetime import date
from pathlib import Path
from typing import TextIO

from sqlalchemy import Engine

from model.notice import NOTICE
from worker.nightly import instances_csv
from worker.nightly.content import NightOptions, night_report
from worker.nightly.instances_csv import cell
from worker.nightly.night_report import NightReport
from worker.nightly.page.page import render
from worker.nightly.published import INSTANCES, PAGE, REFUSED, REPORT


def write_report(engine: Engine, day: date, options: NightOptions, folder: Path) -> NightReport:
    """Make the report of a day in a folder that exists; files that are there are replaced. Returns the report."""
    report = night_report(engine, day, options)
    with _opened(folder / INSTANCES) as file:
        instances_csv.write(engine, report.span, file)
    with _opened(folder / REFUSED) as file:
        _write_refused(report, file)
    page = render(report)
    report = replace(report, page_without=page.without)
    with _opened(folder / PAGE) as file:
        file.write(page.html)
    with _opened(folder / REPORT) as file:
        file.write(json.dumps(report.as_dict(), indent=2) + "\n")
    return report


def _write_refused(report: NightReport, file: TextIO) -> None:
    writer = csv.writer(file)
    writer.writerow(("what", "calling_ae", "code", "count", "notice"))
    kinds = {
        "refused": report.refused,
        "contexts_refused": report.contexts_refused,
        "not_associated": report.not_associated,
    }
    for what, counts in kinds.items():
        for calling_ae, codes in counts.items():
            writer.writerows((what, cell(calling_ae), cell(code), number, NOTICE) for code, number in codes.items())


def _opened(path: Path) -> TextIO:
    """For writing, readable by us alone."""
    return open(path, "w", encoding="utf-8", newline="", opener=lambda name, flags: os.open(name, flags, 0o600))
