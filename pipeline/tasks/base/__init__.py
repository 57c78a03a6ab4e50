"""Code that the tasks share: the interface, classification, and functions that split and cut data."""
