"""Questions to ask the packaged model where a test asserts what it says.

Each token of each answer leads the second best by more than a nat in float32 (`margins.py` measures it, and
`test_margins_real.py` holds it), which no other processor, type of the weights or number of threads makes up for.
"""

from __future__ import annotations

QUESTION = "What is the capital city of Japan?"
FACT = "The capital city of Japan is Tokyo."
CAPITALS = {"Japan": "Tokyo", "Kenya": "Nairobi", "Poland": "Warsaw", "Greece": "Athens", "Russia": "Moscow"}


def question_of(country: str) -> str:
    """Ask for the capital of one of the CAPITALS."""
    return QUESTION.replace("Japan", country)


def fact_of(country: str) -> str:
    """Return what the model answers."""
    return FACT.replace("Japan", country).replace("Tokyo", CAPITALS[country])
