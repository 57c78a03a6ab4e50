"""The command line: models and data in files, and what is printed about them."""
