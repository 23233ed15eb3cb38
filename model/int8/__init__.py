"""The int8 variant of a bundle."""
