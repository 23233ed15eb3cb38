"""Every page of operations."""

from worker.web.operations import alarms, bundles, dead_letters, deliveries, devices, overview, peers, trends
from worker.web.page import Page

PAGES: tuple[Page, ...] = (
    *overview.PAGES,
    *alarms.PAGES,
    *dead_letters.PAGES,
    *deliveries.PAGES,
    *peers.PAGES,
    *devices.PAGES,
    *bundles.PAGES,
    *trends.PAGES,
)
