"""A subset of the suites, as pytest's own ``-m`` and ``-k`` leave it: which one a run is of, and what it leaves out."""

from __future__ import annotations

from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import pytest

    from .contract import Contract, Subset


def subset_of(config: pytest.Config, contract: Contract) -> Subset | None:
    """Return the subset whose expressions a run was given, by its command line or by ``addopts``, or None."""
    options = tuple(" ".join(config.getoption(name, default="").split()) for name in ("markexpr", "keyword"))
    return next((subset for subset in contract.subsets.values() if subset.options == options), None)


def takes(config: pytest.Config, subset: Subset, item: pytest.Item) -> bool:
    """Return whether a test is in a subset, by what pytest itself makes of the expressions."""
    left = [item]
    plugin: Any = config.pluginmanager.get_plugin("mark")
    plugin.pytest_collection_modifyitems(items=left, config=_Given(config, subset))
    return bool(left)


class _Given:
    """The configuration of a run that was given a subset's expressions, and whose hooks hear of no deselection."""

    def __init__(self, config: pytest.Config, subset: Subset) -> None:
        self._config = config
        self.option = SimpleNamespace(markexpr=subset.marks, keyword=subset.keywords)
        self.hook = SimpleNamespace(pytest_deselected=lambda items: items)

    def __getattr__(self, name: str) -> object:
        return getattr(self._config, name)
