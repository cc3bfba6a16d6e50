"""Tests of what the noxfile asks of the machine."""
