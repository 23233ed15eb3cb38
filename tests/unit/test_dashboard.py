"""docker/grafana/xrayq.json asks for nothing that no process says, and docker/README.md documents every metric."""

import json
import re
from functools import cache
from pathlib import Path
from typing import Any

import pytest
from prometheus_client import CollectorRegistry
from prometheus_client.metrics_core import Metric

from dicom_gateway.spool import Spool
from tests.images import FOLDER, services
from worker.db.session import make_engine
from worker.health import outbox_metrics
from worker.metrics import GatewayMetrics, PushMetrics, RelayMetrics, WorkerMetrics
from worker.settings import Settings

README = (FOLDER / "README.md").read_text(encoding="utf-8")
PROMETHEUS = (FOLDER / "prometheus.yml").read_text(encoding="utf-8")
DASHBOARD: dict[str, Any] = json.loads((FOLDER / "grafana" / "xrayq.json").read_text(encoding="utf-8"))
SUFFIXES = {"counter": ("_total",), "gauge": ("",), "info": ("_info",), "histogram": ("_bucket", "_sum", "_count")}
PROCESSES = ("gateway", "relay", "worker", "worker-gpu")
PORTS = {"gateway": 9110, "relay": 9111, "worker": 9112}


@cache
def registries() -> dict[str, CollectorRegistry]:
    """As the processes make them; the relay's database is none that answers."""
    gateway, relay, worker = GatewayMetrics(own_title="OWN"), RelayMetrics(), WorkerMetrics()
    gateway.watch(established=lambda: 0, spool=Spool(Path("/nowhere")))
    PushMetrics(gateway)
    outbox_metrics.register(relay.registry, make_engine("sqlite:////nowhere/xrayq.db"))
    worker.watch(lambda: None)
    return {"gateway": gateway.registry, "relay": relay.registry, "worker": worker.registry}


def families() -> dict[str, Metric]:
    """Every metric by the name that it is documented under."""
    found = {}
    for registry in registries().values():
        for collector in registry._collector_to_names:
            for family in collector.describe():
                suffixes = SUFFIXES[family.type]
                found[family.name + (suffixes[0] if len(suffixes) == 1 else "")] = family
    return found


def series() -> set[str]:
    """Every name that a query may ask for."""
    return {family.name + suffix for family in families().values() for suffix in SUFFIXES[family.type]}


def panels() -> list[dict[str, Any]]:
    return [panel for panel in DASHBOARD["panels"] if panel["type"] not in ("row", "text")]


def queries() -> list[str]:
    return [target["expr"] for panel in panels() for target in panel["targets"]]


def asked() -> set[str]:
    return {name for query in queries() for name in re.findall(r"\bxrayq_\w+", query)}


def rows() -> dict[str, list[str]]:
    """The table of metrics: name -> its other cells."""
    found = re.findall(r"^\| `(xrayq_\w+)` \| (.*) \|$", README, re.MULTILINE)
    return {name: cells.split(" | ") for name, cells in found}


def test_the_dashboard_asks_for_metrics_that_exist() -> None:
    assert len(asked()) > 20
    assert asked() - series() == set()


def test_the_dashboard_shows_every_metric() -> None:
    shown = {name for name in families() if any(one.startswith(name) for one in asked())}
    assert set(families()) - shown == set()


def test_names_have_units() -> None:
    assert [name for name in series() if not name.startswith("xrayq_")] == []
    for name, family in families().items():
        timed = re.search(r"\bage\b|since|from the last byte|transaction", family.documentation, re.IGNORECASE)
        assert not timed or name.endswith("_seconds"), name
        assert (family.type == "counter") == name.endswith("_total"), name


def test_every_metric_is_documented_and_no_other() -> None:
    assert set(rows()) == set(families())


@pytest.mark.parametrize("name", sorted(families()))
def test_metric_is_documented_as_it_is(name: str) -> None:
    """Its process, its labels and what it means."""
    roles, labels, meaning = rows()[name]
    said_by = {role for role, registry in registries().items() if families()[name].name in _described(registry)}
    assert {role.strip() for role in roles.split(",")} == (said_by if said_by != set(PORTS) else {"all"})
    assert [label.strip(" `") for label in labels.split(",") if label.strip()] == list(_labels(name))
    assert meaning == families()[name].documentation


def _described(registry: CollectorRegistry) -> set[str]:
    return {family.name for collector in registry._collector_to_names for family in collector.describe()}


def _labels(name: str) -> tuple[str, ...]:
    if name == "xrayq_info":
        return ("version", "role")
    own = {family: labels for family, _, labels in outbox_metrics.FAMILIES}
    for registry in registries().values():
        for collector in registry._collector_to_names:
            if families()[name].name in {family.name for family in collector.describe()}:
                return own.get(name, getattr(collector, "_labelnames", ()))
    return ()


# Grafana


def test_the_dashboard_can_be_imported() -> None:
    """Grafana's own rules: ids are different, panels do not overlap, the data source is chosen by a variable."""
    (variable,) = DASHBOARD["templating"]["list"]
    assert (variable["name"], variable["type"], variable["query"]) == ("datasource", "datasource", "prometheus")
    ids = [panel["id"] for panel in DASHBOARD["panels"]]
    assert len(ids) == len(set(ids))
    taken: set[tuple[int, int]] = set()
    for panel in DASHBOARD["panels"]:
        place = panel["gridPos"]
        assert place["x"] + place["w"] <= 24
        cells = {
            (x, y)
            for x in range(place["x"], place["x"] + place["w"])
            for y in range(place["y"], place["y"] + place["h"])
        }
        assert not cells & taken, panel["title"]
        taken |= cells
    for panel in panels():
        sources = [panel["datasource"], *(target["datasource"] for target in panel["targets"])]
        assert {source["uid"] for source in sources} == {"${datasource}"}


def test_the_dashboard_says_first_what_it_is_not() -> None:
    first = min(DASHBOARD["panels"], key=lambda panel: int(panel["gridPos"]["y"]))
    assert "not a medical device" in first["options"]["content"]


def test_the_dashboard_has_a_row_for_each_question() -> None:
    titles = [panel["title"] for panel in DASHBOARD["panels"] if panel["type"] == "row"]
    assert titles == ["Alarms and health", "Receiving", "Queue", "Scoring", "Findings"]


@pytest.mark.parametrize("panel", panels(), ids=lambda panel: panel["title"])
def test_a_panel_has_the_unit_of_its_metric(panel: dict[str, Any]) -> None:
    queried = " ".join(target["expr"] for target in panel["targets"])
    unit = panel["fieldConfig"]["defaults"]["unit"]
    if "_seconds" in queried:
        assert unit == "s"
    if "_bytes" in queried:
        assert unit == ("Bps" if "rate(" in queried else "bytes")


@pytest.mark.parametrize("query", queries())
def test_a_query_is_whole(query: str) -> None:
    for opening, closing in ("()", "{}", "[]"):
        assert query.count(opening) == query.count(closing)
    for name in re.findall(r"\b(xrayq_\w+(?:_total|_bucket|_sum|_count))\b", query):
        assert re.search(rf"(?:rate|increase)\({name}(?:{{[^}}]*}})?\[", query), f"{name} only ever rises"


# Prometheus


def test_prometheus_asks_every_service_on_its_port() -> None:
    wanted = dict(re.findall(r"names: \[([\w, -]+)\], type: A, port: (\d+)", PROMETHEUS))
    assert {name: int(port) for names, port in wanted.items() for name in names.split(", ")} == PORTS | {
        "worker-gpu": PORTS["worker"]
    }
    assert {role: Settings.model_fields[f"{role}_http_port"].default for role in PORTS} == PORTS
    assert set(re.findall(r"job_name: (\S+)", PROMETHEUS)) == {f"xrayq-{role}" for role in PORTS}


@pytest.mark.parametrize("name", PROCESSES)
def test_endpoints_are_reached_inside_and_published_nowhere(name: str) -> None:
    service = services()[name]
    assert service["environment"]["XRAYQ_HTTP_HOST"] == "0.0.0.0"
    assert {one["target"] for one in service.get("ports", [])} <= {11112}
