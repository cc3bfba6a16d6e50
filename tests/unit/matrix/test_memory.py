"""Memory that grows is distinguished from memory that comes and goes."""

from __future__ import annotations

from random import Random

from tests.integration.memory import growth


def test_a_leak_is_seen_through_noise() -> None:
    """In each of 200 draws, noise of 100 is not growth, but 60 more in each sample is."""
    found = []
    for seed in range(200):
        dice = Random(seed)  # noqa: S311  (no secret)
        noise = [dice.uniform(0, 100) for _ in range(8)]
        found.append((growth(noise), growth([60 * number + each for number, each in enumerate(noise)])))
    assert max(level for level, _ in found) < 30
    assert min(leak for _, leak in found) > 30


def test_one_jump_is_no_growth() -> None:
    """Memory that a library takes once and keeps is not a leak."""
    assert growth([0, 0, 0, 100, 100, 100, 100, 100]) < 25
    assert growth([0, 10, 20, 30]) == 10
