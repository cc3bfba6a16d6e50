"""Conversations: what was said before, and how much of it a model reads again."""
