"""The interface of the heads."""
