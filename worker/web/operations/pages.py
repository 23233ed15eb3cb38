"""Every page of operations."""

from worker.web.page import Page

PAGES: tuple[Page, ...] = ()
