"""Probes, `/metrics`, `/healthz` and `/readyz`, and who asks for them."""
