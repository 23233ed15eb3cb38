"""What a bundle is worth on labelled films, and what it must beat."""
