"""When something holds: facts about libraries, Pythons and platforms, joined by and, or and not.

A formula is in disjunctive normal form: a set of alternatives, each a set of facts that hold together. ``TRUE`` has one
alternative without facts, ``FALSE`` has none.
"""

from __future__ import annotations

from typing import Literal, NamedTuple

Kind = Literal["library", "python", "platform", "program", "variable", "unknown"]


class Fact(NamedTuple):
    """Something that holds, or does not.

    Attributes:
        kind: what it is about.
        value: a distribution's normalized name, a version as in ">=3.12", a value of ``sys.platform``, a program, an
            environment variable; of an unknown fact, its source.
        holds: False when it must not hold.
    """

    kind: Kind
    value: str
    holds: bool = True


Formula = frozenset[frozenset[Fact]]

TRUE: Formula = frozenset({frozenset()})
FALSE: Formula = frozenset()


def fact(kind: Kind, value: str) -> Formula:
    """Return the formula that says only this."""
    return frozenset({frozenset({Fact(kind, value)})})


def either(*formulas: Formula) -> Formula:
    """Return the formula that holds when one of these does."""
    alternatives = frozenset().union(*formulas)
    return frozenset(each for each in alternatives if not any(other < each for other in alternatives))


def both(*formulas: Formula) -> Formula:
    """Return the formula that holds when all of these do."""
    together = TRUE
    for formula in formulas:
        together = either(
            frozenset(one | other for one in together for other in formula if not _contradict(one, other))
        )
    return together


def negated(formula: Formula) -> Formula:
    """Return the formula that holds when this one does not."""
    opposites = (
        frozenset(frozenset({each._replace(holds=not each.holds)}) for each in alternative) for alternative in formula
    )
    return both(*opposites)


def choice(condition: Formula, then: Formula, otherwise: Formula) -> Formula:
    """Return ``then`` where the condition holds, and ``otherwise`` elsewhere."""
    if then == otherwise:
        return then
    return either(both(condition, then), both(negated(condition), otherwise))


def _contradict(one: frozenset[Fact], other: frozenset[Fact]) -> bool:
    return any(each._replace(holds=not each.holds) in other for each in one)
