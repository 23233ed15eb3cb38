"""Received films to scores: decoding, gate, inference, one transaction."""
