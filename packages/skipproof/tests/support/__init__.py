"""Tests of the plugin: every gate is shown to go red."""
