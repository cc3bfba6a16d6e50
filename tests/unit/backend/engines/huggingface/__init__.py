"""Tests of the huggingface engine that need no extra."""
