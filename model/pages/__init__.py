"""Reports, figures and the model card: HTML and Markdown that open without a network."""
