"""Related work, done again here: one file a system, `python -m replications [NAME ...]`."""
