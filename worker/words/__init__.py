"""Text and sizes as a person reads them."""
