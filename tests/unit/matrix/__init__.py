"""Tests of what the noxfile uses from matrix/."""
