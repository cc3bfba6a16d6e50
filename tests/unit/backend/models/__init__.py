"""Tests of models and their files that need no extra."""
