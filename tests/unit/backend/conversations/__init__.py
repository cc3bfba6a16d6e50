"""Tests of the package that need no extra."""
