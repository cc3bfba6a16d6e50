"""Installed, but broken, on purpose: detection has to call this module broken, never absent (see canary.py)."""

from __future__ import annotations

import importlib

importlib.import_module("skipproof_canary_that_is_not_installed")
