"""Constructs of tests, each in one file: what ``skipproof init`` makes of it.

Lines are counted without the import of pytest, which each file begins with.
"""

from __future__ import annotations

UNDERSTOOD = {
    "set either way": (
        """
        try:
            import skipproof_alpha
            X = 0
        except ImportError:
            X = 0
        @pytest.mark.skipif(X, reason='')
        def test_a(): pass
        """,
        "",
    ),
    "flag": (
        """
        try:
            import skipproof_alpha
            HAS = True
        except ImportError:
            HAS = False
        @pytest.mark.skipif(not HAS, reason='')
        def test_a(): pass
        """,
        "6 a",
    ),
    "flag before": (
        """
        HAS = pytest.x = False
        try:
            import skipproof_alpha
            HAS = True
        except Exception:
            pass
        finally:
            X = 1
        @pytest.mark.skipif(HAS == False, reason='')
        def test_a(): pass
        """,
        "9 a",
    ),
    "find_spec": (
        """
        from importlib.util import find_spec
        HAS: bool = find_spec('skipproof_alpha') is not None
        @pytest.mark.skipif(condition=not HAS, reason='')
        def test_a(): pass
        """,
        "3 a",
    ),
    "bare except": (
        """
        try:
            from skipproof_alpha import x as y
        except:
            y = None
        @pytest.mark.skipif(y is None, reason='')
        def test_a(): pass
        """,
        "5 a",
    ),
    "import_module": (
        """
        import importlib
        try:
            importlib.import_module('skipproof_alpha')
            N = 0
        except ImportError:
            N = 1
        @pytest.mark.skipif(N, reason='')
        def test_a(): pass
        """,
        "7 a",
    ),
    "two": (
        """
        try:
            import skipproof_alpha, skipproof_beta
        except ImportError:
            skipproof_alpha = None
        @pytest.mark.skipif(not skipproof_alpha, reason='')
        def test_a(): pass
        """,
        "5 a b",
    ),
    "either": (
        """
        try:
            import skipproof_alpha as a
        except ImportError:
            a = None
        try:
            import skipproof_beta as b
        except ImportError:
            b = None
        @pytest.mark.skipif(not a and not b, reason='')
        def test_a(): pass
        """,
        "9 a-or-b",
    ),
    "either of both": (
        """
        import sys
        try:
            import skipproof_alpha as a
        except ImportError:
            a = None
        WIN = sys.platform == 'win32'
        NEW = sys.version_info > (3, 13)
        @pytest.mark.skipif(not ((a and WIN) or NEW), reason='')
        def test_a(): pass
        """,
        "8 a-and-win32-or-python-3.13",
    ),
    "old": (
        """
        import sys
        @pytest.mark.skipif(sys.version_info >= (3, 13), reason='')
        def test_a(): pass
        """,
        "2 before-python-3.13",
    ),
    "if": (
        """
        import sys
        if sys.platform == 'linux':
            ON = True
        else:
            ON = False
        @pytest.mark.skipif(not bool(ON), reason='')
        def test_a(): pass
        """,
        "6 linux",
    ),
    "os.name": (
        """
        import os
        @pytest.mark.skipif(os.name != 'posix', reason='')
        def test_a(): pass
        """,
        "2 not-win32",
    ),
    "variable": (
        """
        import os
        @pytest.mark.skipif(not os.environ.get('SOME_KEY'), reason='')
        def test_a(): pass
        """,
        "2 some-key",
    ),
    "unittest": (
        """
        import unittest
        try:
            import skipproof_alpha as a
        except ImportError:
            a = None
        class TestA(unittest.TestCase):
            @unittest.skipUnless(a, '')
            def test_a(self): pass
            @unittest.skipIf(a is None, '')
            def test_b(self): pass
        """,
        "7 a; 9 a",
    ),
    "pytestmark": (
        """
        try:
            import skipproof_alpha as a
        except ImportError:
            a = None
        pytestmark = [pytest.mark.skipif(a is None, reason='')]
        def test_a(): pass
        """,
        "5 a",
    ),
    "core": (
        """
        try:
            import skipproof_core as c
        except ImportError:
            c = None
        @pytest.mark.skipif(c is None, reason='')
        def test_a(): pass
        """,
        "",
    ),
    "marked": (
        """
        @pytest.mark.requires('a')
        def test_a(): import skipproof_alpha
        """,
        "",
    ),
    "marked class": (
        """
        @pytest.mark.requires('a')
        class TestA:
            def test_a(self): import skipproof_alpha
        """,
        "",
    ),
    "marked file": (
        """
        pytestmark = pytest.mark.requires('a')
        def test_a(): import skipproof_alpha
        """,
        "",
    ),
    "skipped class": (
        """
        try:
            import skipproof_alpha as a
        except ImportError:
            a = None
        @pytest.mark.skipif(a is None, reason='')
        class TestA:
            def test_a(self): import skipproof_alpha
        """,
        "5 a",
    ),
    "top": (
        """
        import skipproof_alpha
        f = lambda: skipproof_alpha
        def test_a(): skipproof_alpha.x
        """,
        "1 a",
    ),
    "top and pytestmark": (
        """
        import skipproof_alpha
        pytestmark = [pytest.mark.slow]
        def test_a(): pass
        """,
        "1 a",
    ),
    "top and one mark": (
        """
        import skipproof_alpha
        pytestmark = pytest.mark.slow
        def test_a(): pass
        """,
        "1 a",
    ),
    "importorskip": (
        """
        alpha = pytest.importorskip('skipproof_alpha')
        def test_a(): pass
        """,
        "1 a",
    ),
    "importorskip only": (
        """
        pytest.importorskip('skipproof_alpha.sub', reason='x')
        def test_a(): pass
        """,
        "1 a",
    ),
    "lazy": (
        """
        from __future__ import annotations
        from skipproof_alpha import A
        class TestA:
            def test_a(self, x: A = 1, *, y=2) -> A: f = lambda: A
        """,
        "2 a",
    ),
    "body": (
        """
        def test_a():
            if True:
                import skipproof_alpha.sub
            def helper(): import skipproof_beta
        """,
        "1 a",
    ),
    "body importorskip": (
        """
        def test_a():
            alpha = pytest.importorskip('skipproof_alpha')
            pytest.importorskip('skipproof_beta')
        """,
        "1 a b",
    ),
    "body skip": (
        """
        import sys
        def test_a():
            if sys.platform == 'win32':
                pytest.skip()
            assert 1
        """,
        "2 not-win32",
    ),
    "body try": (
        """
        def test_a():
            try:
                import skipproof_alpha
            except ImportError:
                pytest.skip()
        """,
        "1 a",
    ),
    "body goes on": (
        """
        def test_a():
            try:
                import skipproof_alpha
            except ImportError:
                pass
        """,
        "",
    ),
    "tool": (
        """
        import skipproof_tool
        def test_a(): import skipproof_stranger
        """,
        "",
    ),
    "fixtures": (
        """
        @pytest.fixture
        def one():
            return pytest.importorskip('skipproof_alpha')
        @pytest.fixture(name='two')
        def _two(one): pass
        def test_a(two, tmp_path): pass
        def test_b(): pass
        """,
        "6 a",
    ),
    "nested class": (
        """
        if True:
            class TestA:
                def test_a(self): import skipproof_alpha
        """,
        "3 a",
    ),
}
"""The construct, and the marks that say the same: line and capabilities."""

LEFT = {
    "used after a skip": (
        """
        try:
            from skipproof_alpha import mock
        except ImportError:
            mock = None
        if not mock:
            pytest.skip(allow_module_level=True)
        class TestA:
            @mock
            def test_a(self): pass
        """,
        ":5: skips as a whole on not mock, and uses what is then missing when it is imported, in line 9",
    ),
    "unknown": (
        """
        import os
        @pytest.mark.skipif(not hasattr(os, 'mkfifo'), reason='')
        def test_a(): pass
        """,
        (":2: skips by hand: pytest.mark.skipif(not hasattr(os, 'mkfifo')): what hasattr(os, 'mkfifo') says is not"),
    ),
    "patch": (
        """
        import sys
        @pytest.mark.skipif(sys.version_info[2] < 3, reason='')
        def test_a(): pass
        """,
        ":2: skips by hand",
    ),
    "variable platform": (
        """
        import sys
        X = 'linux'
        @pytest.mark.skipif(sys.platform == X, reason='')
        def test_a(): pass
        """,
        ":3: skips",
    ),
    "chain": (
        """
        @pytest.mark.skipif(1 < 2 < 3, reason='')
        def test_a(): pass
        """,
        ":1: skips by hand",
    ),
    "other": (
        """
        @pytest.mark.skipif([1] == [2], reason='')
        def test_a(): pass
        """,
        ":1: skips by hand",
    ),
    "own": (
        """
        import skipproof_own
        @pytest.mark.skipif(skipproof_own.missing, reason='')
        def test_a(): pass
        """,
        ":2: skips by hand",
    ),
    "call": (
        """
        @pytest.mark.skipif(print(), reason='')
        def test_a(): pass
        """,
        ":1: skips by hand",
    ),
    "stdlib of some": (
        """
        try:
            import msvcrt
        except ImportError:
            msvcrt = None
        @pytest.mark.skipif(msvcrt is None, reason='')
        def test_a(): pass
        """,
        ":5: skips by hand",
    ),
    "built": (
        """
        try:
            import skipproof_own._built
        except ImportError:
            B = None
        else:
            B = 1
        @pytest.mark.skipif(B is None, reason='')
        def test_a(): pass
        """,
        ":7: skips by hand",
    ),
    "always": (
        """
        @pytest.mark.skipif(True, reason='')
        def test_a(): pass
        """,
        ":1: pytest.mark.skipif(True) skips everywhere",
    ),
    "skip": (
        """
        @pytest.mark.skip
        def test_a(): pass
        """,
        ":1: has pytest.mark.skip",
    ),
    "xfail mark": (
        """
        def helper(): return pytest.mark.xfail
        def test_a(): pass
        """,
        ":1: has pytest.mark.xfail",
    ),
    "xfail": (
        """
        def test_a(): pytest.xfail('x')
        """,
        ":1: calls pytest.xfail",
    ),
    "version": (
        """
        def test_a(): pytest.importorskip('skipproof_alpha', minversion='2')
        """,
        ":1: calls pytest.importorskip",
    ),
    "own variable": (
        """
        def test_a(tmp_path):
            if not tmp_path: pytest.skip()
        """,
        ":2: calls pytest.skip",
    ),
    "unknown in a body": (
        """
        import os
        def test_a():
            if not hasattr(os, 'x'): pytest.skip()
        """,
        ":3: calls pytest.skip",
    ),
    "never a whole file": (
        """
        if True: pytest.skip(allow_module_level=True)
        def test_a(): pass
        """,
        ":1: if True: lets no test",
    ),
    "used": (
        """
        import skipproof_alpha
        @skipproof_alpha.mock
        def test_a(x: int = 1) -> int: pass
        """,
        ":1: imports skipproof_alpha at its top",
    ),
    "collect_ignore": (
        """
        collect_ignore = ['x']
        def test_a(): pass
        """,
        ":1: collect_ignore hides files",
    ),
    "impossible edit": (
        """
        import sys
        def test_a():
            if sys.platform == 'x': pytest.skip()
        """,
        ":2: skips on sys.platform == 'x': the mark requires(not-x) has to be written by hand",
    ),
    "standard library": (
        """
        def test_a():
            try: import json
            except ImportError: pytest.skip()
        """,
        ":3: calls pytest.skip",
    ),
    "own attribute": (
        """
        import skipproof_own
        @pytest.mark.skipif(skipproof_own.other, reason='')
        def test_a(): pass
        """,
        ":2: skips by hand",
    ),
    "built and used": (
        """
        import skipproof_own._built as built
        @built.mark
        def test_a(): pass
        """,
        (":1: imports skipproof_own._built at its top, and uses it when it is imported itself, first in line 3: it"),
    ),
    "failure": (
        """
        @pytest.mark.xfail
        def test_a(): pass
        """,
        (':1: has pytest.mark.xfail: replace it by "tests/test_a.py::test_a" = { reason = "?", issue = "?" }, with'),
    ),
    "failure there": (
        """
        import sys
        class TestA:
            @pytest.mark.xfail(condition=sys.platform == 'win32', reason='why')
            def test_a(self): pass
        """,
        (
            ':3: has pytest.mark.xfail: replace it by "tests/test_a.py::TestA::test_a" = { reason = "why", '
            'issue = "?", where = ["win32"] }'
        ),
    ),
    "failures": (
        """
        X = 'why'
        @pytest.mark.xfail(raises=OSError, reason=X)
        class TestA:
            def test_a(self): pass
        """,
        ':2: has pytest.mark.xfail: replace it by "tests/test_a.py::TestA::*" = { reason = "X", issue = "?" }',
    ),
    "unknown failure": (
        """
        @pytest.mark.xfail(print(), reason='')
        def test_a(): pass
        """,
        ":1: has pytest.mark.xfail under a condition",
    ),
    "getenv": (
        """
        import os
        @pytest.mark.skipif(os.getenv('SOME_KEY', '') == '', reason='')
        def test_a(): pass
        """,
        ":2: skips by hand",
    ),
}
"""The construct, and how the note about it begins, after the name of the file."""
