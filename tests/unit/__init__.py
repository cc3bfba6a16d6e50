"""Tests that need no extra."""
