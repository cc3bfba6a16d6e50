"""Tests of what runs the real tests as on other processors, and as often as it takes."""
