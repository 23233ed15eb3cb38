"""Live performance in the night's page."""

from dataclasses import replace

from markupsafe import Markup

from tests.night_reports import GOOD, labelled, rate
from worker.monitoring.live_labels import LivePerformance
from worker.monitoring.live_rates import DeviceRates
from worker.nightly.page.performance import section


def page_of(performance: LivePerformance) -> str:
    return Markup("").join(section(replace(GOOD, performance=performance)))


def test_a_device_has_tables_of_its_own() -> None:
    """And its alarm stands in them."""
    good, bad = labelled(), labelled(sensitivity=rate(30, 50, alarm=True))
    room = DeviceRates(device="room-2", sample=bad.rates.sample)
    empty = DeviceRates(device="room-3", sample=replace(bad.rates.sample, drawn=0, labelled=0))
    page = page_of(replace(good, rates=replace(good.rates, devices=(room, empty))))
    rest, own = page.split("random sample, films of device room-2", 1)
    assert "random sample, films of no such device" in rest
    assert "100 films of the 60" in page, "drawn, of both"
    assert (rest + own).count("alarm ✗") == 1
    assert page.index("alarm ✗") > page.rindex("films of no such device")
    assert "films of device room-3: none was drawn yet" in page


def test_a_bundle_without_devices_says_nothing_of_them() -> None:
    assert "device" not in page_of(labelled())
