"""Tools: definitions, schemas, calls, and the rounds in which they are used."""
