"""Small projects that do what six real ones do: what ``skipproof init`` has to understand, and each run has to prove.

Libraries are modules called skipproof_*, which the tests install into the site of the project.
"""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class Replica:
    """A project before it adopts the plugin.

    Attributes:
        files: its files, by path.
        full: the libraries of its environment with everything.
        environments: the environments that init proposes.
        marks: the marks that init proposes, as "file:line capabilities".
        left: what init leaves to a person: how each note begins.
        by_hand: what a person then does: the text of a file, and what replaces it.
    """

    files: dict[str, str]
    full: tuple[str, ...]
    environments: tuple[str, ...]
    marks: tuple[str, ...]
    left: tuple[str, ...] = ()
    by_hand: tuple[tuple[str, str, str], ...] = field(default=())


_SETTINGS = """
[tool.pytest.ini_options]
addopts = ["-p", "no:cacheprovider", "--import-mode=importlib"]
pythonpath = ["src", "."]
testpaths = "tests"
"""

# A flag of the package's own, libraries that no extra names, absence, a platform, and a whole file that skips itself.
STRUCTLOG = Replica(
    files={
        "pyproject.toml": f"""
            [project]
            name = "skipproof-own"
            [dependency-groups]
            tests = ["pytest"]
            typing = ["skipproof-rich"]
            {_SETTINGS}
            xfail_strict = true
        """,
        "src/skipproof_own/__init__.py": "",
        "src/skipproof_own/dev.py": """
            import sys
            try:
                import skipproof_rich as rich
            except ImportError:
                rich = None
            _IS_WINDOWS = sys.platform == "win32"
        """,
        "tests/__init__.py": "",
        "tests/test_dev.py": """
            import pytest
            from skipproof_own import dev

            @pytest.mark.skipif(dev.rich is None, reason="Needs Rich.")
            class TestRich:
                def test_there(self): import skipproof_rich

            @pytest.mark.skipif(dev.rich is not None, reason="Needs missing Rich.")
            def test_missing(): assert dev.rich is None

            @pytest.mark.skipif(not dev._IS_WINDOWS or dev.rich is None, reason="Only on Windows")
            def test_windows(): pass
        """,
        "tests/test_twisted.py": """
            import pytest

            try:
                from skipproof_twisted import failure
            except ImportError:
                pytest.skip(allow_module_level=True)


            def test_failure(): assert failure
        """,
    },
    full=("skipproof-rich", "skipproof-twisted"),
    environments=("bare", "full"),
    marks=(
        "tests/test_dev.py:4 skipproof-rich",
        "tests/test_dev.py:8 no-skipproof-rich",
        "tests/test_dev.py:11 skipproof-rich win32",
        "tests/test_twisted.py:3 skipproof-twisted",
    ),
    left=("pyproject.toml:1: nothing names the distribution of skipproof-twisted",),
)

# hypothesis' wrapper, a flag beside the tests, Python conditions in another file, an import in a test.
CATTRS = Replica(
    files={
        "pyproject.toml": f"""
            [project]
            name = "skipproof-own"
            requires-python = ">=3.10"
            [project.optional-dependencies]
            orjson = ["skipproof-orjson>=1; implementation_name == 'cpython'"]
            cbor2 = ["skipproof-cbor2>=1"]
            {_SETTINGS.replace("tests", "skipproof_suite")}
            [tool.coverage.run]
            source_pkgs = ["skipproof_own", "skipproof_suite"]
        """,
        "src/skipproof_own/__init__.py": "",
        "src/skipproof_own/preconf/__init__.py": "",
        "src/skipproof_own/preconf/orjson.py": "import skipproof_orjson\n",
        "skipproof_suite/__init__.py": "",
        "skipproof_suite/_compat.py": """
            import sys
            is_py310_plus = sys.version_info >= (3, 10)
            is_py312_plus = sys.version_info >= (3, 12)
        """,
        "skipproof_suite/given.py": """
            def given(function):
                def wrapper(): return function(1)
                wrapper.__name__ = function.__name__
                wrapper.__module__ = function.__module__
                return wrapper
        """,
        "skipproof_suite/test_preconf.py": """
            from platform import python_implementation
            from typing import Final
            import pytest
            from ._compat import is_py310_plus, is_py312_plus
            from .given import given

            NO_ORJSON: Final = python_implementation() == "PyPy"
            try:
                __import__("skipproof_cbor2")
            except ImportError:
                NO_CBOR2 = True
            else:
                NO_CBOR2 = False

            @given
            def test_given(value): assert value == 1

            @pytest.mark.skipif(not is_py310_plus, reason="3.10+ union syntax")
            def test_union(): pass

            @pytest.mark.skipif(not is_py312_plus, reason="3.12+")
            def test_generics(): pass

            @pytest.mark.skipif(NO_CBOR2, reason="cbor2 not available")
            def test_cbor2(): import skipproof_cbor2

            @pytest.mark.skipif(NO_ORJSON, reason="orjson not available")
            def test_orjson(): from skipproof_own.preconf import orjson
        """,
    },
    full=("skipproof-orjson", "skipproof-cbor2"),
    environments=("bare", "orjson", "cbor2", "full"),
    marks=(
        "skipproof_suite/test_preconf.py:21 python-3.12",
        "skipproof_suite/test_preconf.py:24 cbor2",
        "skipproof_suite/test_preconf.py:28 orjson",
    ),
)

# Extras that share a library, a test tool that is optional, a file that skips itself under a condition.
PYDANTIC_SETTINGS = Replica(
    files={
        "pyproject.toml": f"""
            [project]
            name = 'skipproof-own'
            [project.optional-dependencies]
            yaml = ["skipproof-yaml>=1"]
            toml = []
            secrets = ["skipproof-boto"]
            systems = ["skipproof-boto"]
            [dependency-groups]
            testing = ["pytest", "skipproof-moto[all]"]
            {_SETTINGS}
        """,
        "skipproof_own/__init__.py": "",
        "tests/test_yaml.py": """
            import pytest

            try:
                import skipproof_yaml as yaml
            except ImportError:
                yaml = None

            @pytest.mark.skipif(yaml, reason='PyYAML is installed')
            def test_missing(): assert yaml is None

            @pytest.mark.skipif(yaml is None, reason='pyYAML is not installed')
            def test_yaml(): assert yaml
        """,
        "tests/test_secrets.py": """
            import os

            import pytest

            try:
                import skipproof_yaml as yaml
                from skipproof_moto import mock_aws
            except ImportError:
                yaml = None
                mock_aws = None

            try:
                boto = True
                import skipproof_boto
            except ImportError:
                boto = False

            if not yaml:
                pytest.skip('PyYAML is not installed', allow_module_level=True)


            @pytest.mark.skipif(not boto, reason='[secrets] is not installed')
            class TestSecrets:
                def test_repr(self) -> None: assert mock_aws and skipproof_boto

            @pytest.mark.skipif(os.name != 'nt', reason='only on Windows')
            def test_case(): pass
        """,
    },
    full=("skipproof-yaml", "skipproof-boto", "skipproof-moto"),
    environments=("bare", "yaml", "secrets", "systems", "full"),
    marks=(
        "tests/test_secrets.py:18 skipproof-moto yaml",
        "tests/test_secrets.py:22 skipproof-boto",
        "tests/test_secrets.py:26 win32",
        "tests/test_yaml.py:8 no-skipproof-yaml",
        "tests/test_yaml.py:11 yaml",
    ),
)

# A module instead of a package, a .coveragerc, a tools file, BLAS probes and skips that only a running test decides.
THREADPOOLCTL = Replica(
    files={
        "pyproject.toml": """
            [project]
            name = "skipproof-own"
            [tool.pytest.ini_options]
            addopts = "-p no:cacheprovider --import-mode=importlib"
            pythonpath = ["."]
            testpaths = ["skipproof_suite"]
        """,
        "skipproof_own.py": "def info(): return []\n",
        "dev-requirements.txt": "flit # builds\npytest\n-e .\n",
        ".coveragerc": "[run]\nsource=skipproof_own\n",
        "skipproof_suite/__init__.py": "",
        "skipproof_suite/utils.py": """
            try:
                import skipproof_numpy.linalg
            except ImportError:
                pass
            libopenblas_paths = []
        """,
        "skipproof_suite/test_own.py": """
            import os

            import pytest

            from skipproof_own import info
            from .utils import libopenblas_paths

            @pytest.mark.skipif(len(libopenblas_paths) < 2, reason="need at least 2 OpenBLAS")
            def test_two(): pass

            @pytest.mark.skipif("SKIPPROOF_CI" not in os.environ, reason="only in CI")
            def test_ci(): pass

            def test_blas():
                blas = info()
                if not blas:
                    pytest.skip("requires OpenBLAS.")

            def test_command():
                pytest.importorskip("skipproof_numpy.linalg")
                assert info() == []
        """,
    },
    full=("skipproof-numpy",),
    environments=("bare", "full"),
    marks=("skipproof_suite/test_own.py:11 skipproof-ci", "skipproof_suite/test_own.py:19 skipproof-numpy"),
    left=(
        "pyproject.toml:1: nothing names the distribution of skipproof-numpy",
        "skipproof_suite/test_own.py:8: skips by hand: pytest.mark.skipif(len(libopenblas_paths) < 2)",
        "skipproof_suite/test_own.py:17: calls pytest.skip by hand",
    ),
    by_hand=(
        (
            "pyproject.toml",
            "[tool.skipproof.capabilities]\n",
            '[tool.skipproof.capabilities]\nblas = { probe = "skipproof_suite.probes:blas", install = "two BLAS" }\n',
        ),
        ("pyproject.toml", '"skipproof-ci?"', '"skipproof-ci?", "blas?"'),
        (
            "skipproof_suite/test_own.py",
            'skipif(len(libopenblas_paths) < 2, reason="need at least 2 OpenBLAS")',
            'requires("blas")',
        ),
        ("skipproof_suite/test_own.py", "def test_blas", '@pytest.mark.requires("blas")\ndef test_blas'),
        ("skipproof_suite/test_own.py", '    if not blas:\n        pytest.skip("requires OpenBLAS.")\n', ""),
        ("skipproof_suite/probes.py", "", "def blas(): return False\n"),
    ),
)

# Settings in an INI file, strict xfails of one platform, nothing optional.
LLM = Replica(
    files={
        "pyproject.toml": """
            [project]
            name = "skipproof-own"
            dependencies = ["skipproof-core"]
            [dependency-groups]
            dev = ["pytest", {include-group = "docs"}]
            docs = ["sphinx"]
        """,
        "pytest.ini": "[pytest]\naddopts = -p no:cacheprovider --import-mode=importlib\npythonpath = .\n",
        "skipproof_own/__init__.py": "",
        "tests/test_chat.py": """
            import sys

            import pytest
            import skipproof_core

            @pytest.mark.xfail(sys.platform == "win32", reason="Expected to fail on Windows")
            def test_chat(): pass

            @pytest.mark.skipif(sys.platform not in ("darwin", "linux"), reason="only there")
            def test_descriptors(): pass
        """,
    },
    full=("skipproof-core",),
    environments=("oldest", "newest"),
    marks=("tests/test_chat.py:9 darwin-or-linux",),
    left=('tests/test_chat.py:6: has pytest.mark.xfail: replace it by "tests/test_chat.py::test_chat" = { reason = ',),
)

# A subset in addopts, programs, a mark with a name of its own, flags of the package for platforms.
CLICK = Replica(
    files={
        "pyproject.toml": f"""
            [project]
            name = "skipproof-own"
            {_SETTINGS.replace('lib"]', 'lib", "-m", "not stress"]')}
            markers = ["stress: takes long"]
            [tool.coverage.report]
            exclude_also = ["if t.TYPE_CHECKING"]
        """,
        "src/skipproof_own/__init__.py": "",
        "src/skipproof_own/_compat.py": 'import sys\nWIN = sys.platform.startswith("win")\n',
        "tests/test_termui.py": """
            import platform
            import shutil

            import pytest
            from skipproof_own._compat import WIN

            needs_fd = pytest.mark.skipif(platform.system() == "Windows", reason="No style on Windows.")

            @pytest.mark.skipif(not WIN, reason="Tests user-input using the msvcrt module.")
            def test_getchar(): pass

            @needs_fd
            @pytest.mark.skipif(WIN, reason="No sed on Windows.")
            def test_edit(): pass

            @pytest.mark.stress
            def test_stress(): raise RuntimeError("left to another session")

            @pytest.mark.skipif(shutil.which("skipproof-cat") is None, reason="cat not available")
            def test_pager(): pass
        """,
    },
    full=(),
    environments=("oldest", "newest"),
    marks=(
        "tests/test_termui.py:7 not-win32",
        "tests/test_termui.py:9 win32",
        "tests/test_termui.py:13 not-win32",
        "tests/test_termui.py:19 skipproof-cat",
    ),
)

REPLICAS = {
    "structlog": STRUCTLOG,
    "cattrs": CATTRS,
    "pydantic-settings": PYDANTIC_SETTINGS,
    "threadpoolctl": THREADPOOLCTL,
    "llm": LLM,
    "click": CLICK,
}
