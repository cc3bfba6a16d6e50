"""Tests of the project around the package: menu, workflows and environments."""
