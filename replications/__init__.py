"""Replications of related work: one file per system; `python -m replications [NAME ...]` runs them."""
