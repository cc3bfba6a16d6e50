"""Tests of what runs the workflows on this machine."""
