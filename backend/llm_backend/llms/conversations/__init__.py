"""Conversations: what was said before, and what of it a model reads again."""
