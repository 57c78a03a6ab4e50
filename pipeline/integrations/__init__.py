"""What other people's training loops, searches and tools use of the library."""
