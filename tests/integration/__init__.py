"""Real models, real servers, real processes. docs/testing.md says how to write such a test."""
