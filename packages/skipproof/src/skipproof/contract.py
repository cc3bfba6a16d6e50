"""What the environments promise and what a test may require, as the project's table says; table.py reads it.

::

    [tool.skipproof]
    sources = ["src", "tests"]                       # what a receipt is tied to: files, and all in a folder
    locks = "environments"                           # <environment>.txt or pylock.<environment>.toml lies here
    state = ".matrix"                                # receipts and coverage data go here
    accepted = "accepted.txt"                        # the accepted list, if there is to be one

    [tool.skipproof.capabilities]
    llm = { modules = ["torch"], distributions = ["a-model"], install = "pip install 'project[llm]'" }
    cuda = { probe = "cuda", install = "a machine with a GPU" }
    browser = { modules = ["playwright"], programs = ["chromium", "google-chrome"], install = "..." }
    answers = { modules = ["torch"], trace = "project.inference", digest = "9f86d0...", install = "..." }
    dataset = { paths = ["~/.cache/project/data-*.db"], install = "project download" }
    server = { variable = "PROJECT_SERVER", install = "PROJECT_SERVER=<address of a server>" }
    openblas = { probe = "tests.probes:has_openblas", install = "an OpenBLAS" }
    new = { python = ">=3.14" }
    unix = { platform = "posix" }
    plain = { absent = "rich" }
    colours = { any = ["unix", "colorama"] }

    [tool.skipproof.environments]
    bare = []
    full = ["llm", "cuda", "dataset?", "server?"]
    web = ["browser", "answers"]

What proves a capability: everything that is named must be here; of ``programs`` and of ``paths``, one is enough.

``modules``        each imports
``distributions``  each is installed, and the content of every file is what was installed
``programs``       the machine has at least one of them, on its PATH
``paths``          something matches at least one of these patterns, each below ``~`` or absolute
``variable``       the environment variable is set, and not empty
``probe``          one of ``PROBES``, "cuda" or "cpu avx2", says yes; or the project's own "module:function" does

Installing into the environment cannot provide the last four: on a machine that lacks one, tests that need it run
nowhere. An environment may promise such a capability with "?" after its name: it has it where the machine has it;
elsewhere its tests skip with the derived reason and are reported as unproven. What an installation provides is promised
without "?".

Conditions are not promised. Each run evaluates them, and its receipt says which held; ``install`` follows from them.

``python``         a specifier of the Python that runs; a pre-release counts as its release
``platform``       of ``conditions.PLATFORMS`` ("linux", "pypy"), one or a list with one that fits; or each with "not"
``absent``         a module, or a list of modules, that must not be here
``all``, ``any``   names of other capabilities: all of them, or one of them, must be here

With ``python`` or ``platform`` beside modules or the like, an environment promises the capability, and has it where
the condition holds. The other conditions stand alone.

``trace``          a test that needs this capability must raise this audit event (``sys.audit``) when it really runs
``digest``         SHA-256 of the weights that the event must name, in hexadecimal

Instead of a folder, ``locks`` may be a table that gives each environment its own file::

    [tool.skipproof.locks]
    bare = "requirements/bare.txt"
    web = "pylock.web.toml"
    full = { path = "uv.lock", extras = ["llm"], groups = ["test"] }

What else a table may say::

    [tool.skipproof]
    mark = "needs"                                   # the name of the mark, if not "requires"

    [tool.skipproof.known_failures]                  # they must fail; "*" is anything after the file
    "tests/test_a.py::test_b[*-x]" = { reason = "...", issue = "#7", raises = "ValueError", where = ["new"] }

    [tool.skipproof.subsets]                         # what some sessions run of each suite, by options of pytest
    quick = "-m 'not slow'"
    slow = "-m slow"
"""

from __future__ import annotations

import difflib
import re
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING

from .machine import FEATURES

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping

PROBES = ("cuda", *(f"cpu {name}" for name in FEATURES))
"""What a machine can be asked; detection.py asks."""


class ContractError(ValueError):
    """The table, or a name looked up in it, is wrong; the message says what to correct."""


@dataclass(frozen=True, slots=True)
class Capability:
    """Something an environment may have and a test may need.

    Attributes:
        name: what ``@pytest.mark.requires`` calls it.
        install: how to get it, as the skip reason prints it.
        modules: modules that must all import.
        distributions: distributions that must all be installed.
        probe: a check of the machine, one of ``PROBES``, or None.
        programs: programs; the machine must have at least one of them on its PATH.
        paths: patterns of paths; at least one must match something on the machine.
        variable: an environment variable that must be set and not empty, or None.
        trace: name of the audit event that its real use raises, or None when a test need not leave a trace.
        digest: SHA-256 of the weights that the event must name, in hexadecimal, or None when any will do.
        python: a specifier of the Python that has to run, or None.
        platforms: names of platforms, one of which has to fit; or each with "not", all of which have to.
        absent: modules that must not be here.
        all_of: capabilities that must all be here.
        any_of: capabilities of which one is enough.
    """

    name: str
    install: str
    modules: tuple[str, ...] = ()
    distributions: tuple[str, ...] = ()
    probe: str | None = None
    programs: tuple[str, ...] = ()
    paths: tuple[str, ...] = ()
    variable: str | None = None
    trace: str | None = None
    digest: str | None = None
    python: str | None = None
    platforms: tuple[str, ...] = ()
    absent: tuple[str, ...] = ()
    all_of: tuple[str, ...] = ()
    any_of: tuple[str, ...] = ()

    @property
    def depends_on_machine(self) -> bool:
        """True when installing something into the environment cannot provide it."""
        return any((self.probe, self.programs, self.paths, self.variable))

    @property
    def depends_on_installation(self) -> bool:
        """True when some part of it is installed into the environment."""
        return any((self.modules, self.distributions))

    @property
    def depends_on_platform(self) -> bool:
        """True when the Python that runs, or its platform, decides whether it is here."""
        return any((self.python, self.platforms))

    @property
    def has_condition(self) -> bool:
        """True when a run evaluates some part of it, whatever its environment promises."""
        return any((self.depends_on_platform, self.absent, self.all_of, self.any_of))

    @property
    def is_condition(self) -> bool:
        """True when there is nothing in it that an environment could promise."""
        return self.has_condition and not (self.depends_on_machine or self.depends_on_installation)


@dataclass(frozen=True, slots=True)
class Lock:
    """The lock of an environment: a file and, where the file holds several environments, which part of it.

    Attributes:
        file: its path, relative to the root, with "/".
        extras: the extras of the project that the environment has.
        groups: the dependency groups that it has.
    """

    file: str
    extras: tuple[str, ...] = ()
    groups: tuple[str, ...] = ()

    @property
    def command(self) -> str:
        """The uv command that makes an environment match this lock exactly."""
        chosen = [f"--extra {name}" for name in self.extras] + [f"--group {name}" for name in self.groups]
        path = PurePosixPath(self.file)
        if path.name != "uv.lock":
            return " ".join(["uv pip sync", self.file, *chosen])
        project = [] if path.parent == PurePosixPath() else [f"--project {path.parent}"]
        return " ".join(["uv sync --active --locked --no-default-groups", *project, *chosen])


@dataclass(frozen=True, slots=True)
class KnownFailure:
    """Tests that are known to fail, and must: one that passes is no longer known to fail.

    Attributes:
        tests: the id of a test, or of several, with "*" for anything after the file.
        reason: why they fail.
        issue: where that is tracked.
        raises: names of exceptions, one of which they raise; any will do when empty.
        where: capabilities that must all be here for them to fail; elsewhere they have to pass.
    """

    tests: str
    reason: str
    issue: str
    raises: tuple[str, ...] = ()
    where: tuple[str, ...] = ()

    def names(self, test: str) -> bool:
        """Say whether it is about the test with this id."""
        if not test.startswith(self.tests.partition("*")[0]):  # of most tests, and much cheaper
            return False
        return re.fullmatch(re.escape(self.tests).replace(r"\*", ".*"), test, re.DOTALL) is not None

    def __str__(self) -> str:
        return f"{self.reason} ({self.issue})"


@dataclass(frozen=True, slots=True)
class Subset:
    """A part of the suites that some sessions run, by pytest's own options.

    Attributes:
        name: its name.
        marks: the expression of ``-m``, or "".
        keywords: the expression of ``-k``, or "".
    """

    name: str
    marks: str = ""
    keywords: str = ""

    @property
    def options(self) -> tuple[str, str]:
        """Its expressions, of ``-m`` and of ``-k``."""
        return self.marks, self.keywords


@dataclass(frozen=True, slots=True)
class Contract:
    """The whole table, checked.

    Attributes:
        root: folder of the project; every other path is relative to it.
        capabilities: by name, in the order of the table.
        environments: the names of the capabilities that each environment promises on any machine.
        sources: files and folders that a receipt is tied to.
        locks: the lock of each environment.
        state: folder of receipts and coverage data.
        mark: name of the mark by which a test says what it needs.
        known_failures: in the order of the table; the first that names a test, and whose conditions hold, is about it.
        subsets: parts of the suites that a run may be of, by name.
        optional: the names of those that each environment has only where the machine has them.
        table: the file with the table, which a receipt is tied to as well.
        accepted: the file with the accepted list, or None.
        heading: the file and the heading of the table, as messages name it.
    """

    root: Path
    capabilities: Mapping[str, Capability]
    environments: Mapping[str, tuple[str, ...]]
    sources: tuple[str, ...]
    locks: Mapping[str, Lock]
    state: str
    mark: str = "requires"
    known_failures: tuple[KnownFailure, ...] = ()
    subsets: Mapping[str, Subset] = field(default_factory=dict)
    optional: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    table: str = "pyproject.toml"
    accepted: str | None = None
    heading: str = "pyproject.toml: [tool.skipproof]"

    def promised(self, environment: str) -> tuple[str, ...]:
        """Return the capabilities of an environment; raise ContractError for a name that is not in the table."""
        if environment not in self.environments:
            raise ContractError(unknown("environment", environment, self.environments))
        return self.environments[environment]

    def hoped_for(self, environment: str) -> tuple[str, ...]:
        """Return the capabilities that an environment, which is in the table, has where the machine has them."""
        return self.optional.get(environment, ())

    def may_vary(self, environment: str) -> set[str]:
        """Return the capabilities that an environment has on some machines only: by a "?" or by a condition."""
        conditional = {name for name, capability in self.capabilities.items() if capability.has_condition}
        return conditional.union(self.hoped_for(environment))

    def covers(self, path: str) -> bool:
        """Say whether a receipt is tied to what lies in a folder, given relative to the root."""
        return any(PurePosixPath(path).is_relative_to(source) for source in self.sources)

    def check_capabilities(self, names: Collection[str], where: str) -> None:
        """Raise ContractError when ``where`` names a capability that is not in the table."""
        for name in names:
            if name not in self.capabilities:
                raise ContractError(f"{where}: " + unknown("capability", name, self.capabilities))

    def reason(self, missing: Collection[str]) -> str:
        """Return the only reason a test may skip with when it lacks these capabilities (in any order).

        Names and install commands come in the order of the table, so the same set always gives the same text.
        """
        lacking = [capability for name, capability in self.capabilities.items() if name in missing]
        names = ", ".join(capability.name for capability in lacking)
        return f"needs {names}: " + "; ".join(dict.fromkeys(capability.install for capability in lacking))


def unknown(kind: str, name: str, known: Collection[str]) -> str:
    """Return a message that nothing of this kind has this name, with the names there are."""
    close = difflib.get_close_matches(name, known, n=1)
    hint = f" (did you mean {close[0]!r}?)" if close else ""
    return f"no {kind} is called {name!r}{hint}; there are: {', '.join(known) or 'none'}"


def counted(number: int, one: str, many: str) -> str:
    """Return a number with its noun, and what agrees with it."""
    return f"{number} {one if number == 1 else many}"
