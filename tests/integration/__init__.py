"""Real models, real servers, real processes. README.md tells how to write such a test."""
