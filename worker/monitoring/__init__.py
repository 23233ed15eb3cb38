"""Drift, labels, live performance, and two bundles side by side."""
