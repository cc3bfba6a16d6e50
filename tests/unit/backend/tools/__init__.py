"""Tests of tools that need no extra."""
