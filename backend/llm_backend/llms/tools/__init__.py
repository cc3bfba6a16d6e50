"""Tools: definitions, schemas, calls, and the rounds that use them."""
