"""Typed, frozen settings of an agent, and everything that reads them."""
