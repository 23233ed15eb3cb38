"""Reporting guidelines, item by item, for the network that comes with xrayq."""
