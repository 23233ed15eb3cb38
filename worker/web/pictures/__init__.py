"""Films as pictures: see README.md."""
