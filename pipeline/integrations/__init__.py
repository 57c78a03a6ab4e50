"""Callbacks and the like for other libraries, one file each; thin layers on `watching`, each of which imports its library."""
