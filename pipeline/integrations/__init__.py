"""The library in other people's surroundings: their training loops, their tools and the command line."""
