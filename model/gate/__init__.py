"""Which films are scored: rules on header, image quality and what a small network sees."""
