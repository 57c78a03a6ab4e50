"""The study on one page: its figures, its tables, and sentences that depend on its numbers."""
