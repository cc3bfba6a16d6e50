"""Constructs of tests, each in one file, that ``skipproof init`` leaves to a person, and what it says of them.

Lines are counted without the import of pytest, which each file begins with.
"""

from __future__ import annotations

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
        ":1: calls pytest.xfail by hand: list it in known_failures",
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
