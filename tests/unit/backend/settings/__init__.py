"""Tests of settings that need no extra."""
