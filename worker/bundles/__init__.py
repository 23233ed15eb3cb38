"""Bundles in service: which is live, which are shadows, and what runs them."""
