"""From a model's name to a directory that loads, and what fits into memory."""
