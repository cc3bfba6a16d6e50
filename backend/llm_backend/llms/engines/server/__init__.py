"""Engines that ask an OpenAI-compatible server."""
