"""Asking a process for its pages over a real socket, as Prometheus and a container's health check do."""

import json
from dataclasses import dataclass
from http.client import HTTPConnection
from typing import Any

from prometheus_client.parser import text_string_to_metric_families


@dataclass(frozen=True, kw_only=True)
class Reply:
    status: int
    headers: dict[str, str]
    body: str

    @property
    def failing(self) -> dict[str, str]:
        """Checks that are not well, with their texts."""
        said: dict[str, Any] = json.loads(self.body)
        return {one["check"]: one["text"] for one in said["checks"] if not one["ok"]}


def request(port: int, path: str, method: str = "GET", *, token: str = "") -> Reply:
    connection = HTTPConnection("127.0.0.1", port, timeout=20)
    try:
        connection.request(method, path, headers={"Authorization": f"Bearer {token}"} if token else {})
        reply = connection.getresponse()
        return Reply(status=reply.status, headers=dict(reply.getheaders()), body=reply.read().decode())
    finally:
        connection.close()


def ready(port: int) -> bool:
    """Also False while nobody listens."""
    try:
        return request(port, "/readyz").status == 200
    except OSError:
        return False


def samples(port: int, *, token: str = "") -> dict[tuple[str, ...], float]:
    """Every sample of `/metrics`: (name, label value, ...) -> value; labels in order of their names."""
    reply = request(port, "/metrics", token=token)
    assert reply.status == 200
    assert reply.headers["Content-Type"].startswith("text/plain")
    return {
        (sample.name, *(value for _, value in sorted(sample.labels.items()))): sample.value
        for family in text_string_to_metric_families(reply.body)
        for sample in family.samples
    }
