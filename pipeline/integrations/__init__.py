"""What other people's code calls: a watched training, screening, summaries, the command line, callbacks for libraries."""
