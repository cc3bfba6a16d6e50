"""From a model's name to a directory that loads, and what of it fits into memory."""
