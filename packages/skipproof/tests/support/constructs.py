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
