"""The study on one page: figures drawn from the artefacts, sentences computed from the numbers."""
