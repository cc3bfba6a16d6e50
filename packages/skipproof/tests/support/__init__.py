"""Helpers that the plugin's tests share."""
