"""Every page of operations."""

from worker.web.operations import bundles, trends
from worker.web.page import Page

PAGES: tuple[Page, ...] = (*bundles.PAGES, *trends.PAGES)
