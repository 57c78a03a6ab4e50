"""Measurements behind the numbers in the docs; each prints its device and date."""
