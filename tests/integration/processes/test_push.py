"""Pushes by web as the settings have them."""

from pathlib import Path
from typing import Any

import httpx

from dicom_gateway.peers import EVERYBODY
from dicom_gateway.spool import Spool
from tests.phantoms import chest_pixels, write_film
from tests.services import free_port
from tests.stow import RELATED, payload
from worker.metrics import GatewayMetrics, PushMetrics
from worker.processes.push import push_server, pushing_aes
from worker.settings import Settings


def test_tokens_name_who_pushes_and_are_counted(spool: Spool, tmp_path: Path) -> None:
    port, arrived = free_port(), list[Any]()
    tokens = "ROUTER 1:the-token-of-router-1\nROUTER 2:the-token-of-router-2"
    settings = Settings(home=tmp_path, stow=f"127.0.0.1:{port}", stow_tokens=tokens, ae_title="XR")
    gateway = GatewayMetrics(own_title="OWN", calling_aes=pushing_aes(settings))
    metrics = PushMetrics(gateway)
    server = push_server(settings, spool, arrived.append, metrics, metrics, lambda _: EVERYBODY)
    assert server is not None
    server.start()
    try:
        for token in ("the-token-of-router-2", "the-token-of-router-3"):
            httpx.post(
                f"http://127.0.0.1:{port}/studies",
                content=payload([write_film(tmp_path, pixels=chest_pixels(64, 48))]),
                headers={"Content-Type": RELATED, "Authorization": f"Bearer {token}"},
                timeout=30,
                trust_env=False,
            )
    finally:
        server.stop(grace=0)
    assert [(film.calling_ae, film.called_ae) for film in arrived] == [("ROUTER 2", "XR")]

    def counted(name: str, calling_ae: str, status: str) -> float | None:
        return gateway.registry.get_sample_value(name, {"calling_ae": calling_ae, "status": status})

    assert counted("xrayq_stow_instances_total", "ROUTER 2", "0x0000") == 1
    assert counted("xrayq_stow_requests_total", "ROUTER 2", "200") == 1
    assert counted("xrayq_stow_requests_total", "", "401") == 1
    assert push_server(Settings(home=tmp_path), spool, arrived.append, metrics, metrics, lambda _: EVERYBODY) is None
