"""Training: films in, a bundle out. Needs torch."""
