"""What asks an OpenAI-compatible server."""
