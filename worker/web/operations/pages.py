"""Every page of operations."""

from worker.web.operations import bundles
from worker.web.page import Page

PAGES: tuple[Page, ...] = (*bundles.PAGES,)
