"""Tests of the engines that ask a server, as far as they need no extra."""
