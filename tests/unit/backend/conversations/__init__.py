"""Tests of conversations that need no extra."""
