"""The library in other people's programs: summaries, helpers of training loops and searches, the command line."""
