"""The matrix as JUnit XML, for programs that read it."""

from __future__ import annotations

from xml.etree import ElementTree as ET

import pytest

from skipproof import junit
from skipproof.matrix import Cell, Matrix, SessionRow, TestRow

ROWS = {
    "tests/test_a.py::test_fine": Cell(outcome="passed", seconds=0.25),
    "tests/test_a.py::TestGroup::test_fails[a::b]": Cell(
        outcome="failed", message="test_a.py:3: assert 'a\x00<' == '\ud800'"
    ),
    "tests/test_a.py::test_mute": Cell(outcome="failed"),
    "tests/test_a.py::test_skips": Cell(outcome="skipped", reason="needs gpu: a machine"),
    "tests/test_a.py::test_lies": Cell(outcome="skipped", reason="flaky", violation="skipped where it has to run"),
    "tests/test_a.py::test_expected": Cell(outcome="xfailed", reason="known", violation="xfailed where it has to pass"),
    "tests/test_a.py::test_both": Cell(outcome="failed", message="assert 0", violation="was collected twice"),
    "tests/test_a.py::test_vanished": Cell(outcome="missing"),
}
UNIT = SessionRow(
    name="unit-3.11",
    environment="bare",
    state="red",
    seconds=1.5,
    python="3.11.7",
    started="2026-01-02T03:04:05+00:00",
    problems=["is red: fix it"],
    violations=["tests: were changed"],
)


def matrix() -> Matrix:
    """Make a matrix with every outcome."""
    sessions = [
        UNIT,
        SessionRow(name="full", environment="full", state="proved"),
        SessionRow(name="gone", state="missing"),
    ]
    tests = [TestRow(id=name, cells={"unit-3.11": cell}) for name, cell in ROWS.items()]
    tests[0].cells["full"] = Cell(outcome="passed", seconds=0.5)
    return Matrix(project="sample", generated="", sessions=sessions, tests=tests)


def document(environment: str) -> ET.Element:
    """Return what a reader gets from an environment's document."""
    return ET.fromstring(junit.render(matrix())[environment])  # noqa: S314 - it is our own


def test_each_environment_has_a_document() -> None:
    """Each environment has a document, and so do sessions without a receipt."""
    assert list(junit.render(matrix())) == ["bare", "full", "unknown"]
    assert [suite.get("name") for name in ("bare", "full", "unknown") for suite in document(name)] == [
        "unit-3.11",
        "full",
        "gone",
    ]


def test_outcomes_become_what_readers_know() -> None:
    """An xfail, and a skip for the wrong reason, are failures and not skips."""
    [suite] = document("bare")
    found = {case.attrib["name"]: [(child.tag, child.get("type")) for child in case] for case in suite.iter("testcase")}
    assert found == {
        "test_fine": [],
        "test_fails[a::b]": [("failure", "failed")],
        "test_mute": [("failure", "failed")],
        "test_skips": [("skipped", "pytest.skip")],
        "test_lies": [("failure", "skipproof.violation")],
        "test_expected": [("failure", "skipproof.violation")],
        "test_both": [("failure", "skipproof.violation")],
        "test_vanished": [("error", "missing")],
        "the session counts as proof": [("error", "red")],
    }
    assert suite.findtext("testcase[@name='test_both']/failure") == "was collected twice\nassert 0"
    assert (
        suite.findtext("testcase[@name='the session counts as proof']/error") == "is red: fix it\ntests: were changed"
    )


@pytest.mark.parametrize("environment", ["bare", "full", "unknown"])
def test_documents_have_the_structure_that_readers_expect(environment: str) -> None:
    """A document has the structure that readers expect, with counts that match its content."""
    root = document(environment)
    assert root.tag == "testsuites"
    kinds = {
        "tests": "testcase",
        "failures": "testcase/failure",
        "errors": "testcase/error",
        "skipped": "testcase/skipped",
    }
    for suite in root:
        assert suite.tag == "testsuite"
        tags = [child.tag for child in suite]
        assert tags == ["properties", *["testcase"] * (len(tags) - 1)]
        assert {key: int(suite.attrib[key]) for key in kinds} == {key: len(suite.findall(kinds[key])) for key in kinds}
        for case in suite.iter("testcase"):
            assert case.attrib["classname"]
            assert case.attrib["name"]
            assert float(case.attrib["time"]) >= 0
            assert len(case) <= 1
            assert all(child.get("message") and child.get("type") and child.text for child in case)
    assert {key: int(root.attrib[key]) for key in kinds} == {
        key: sum(int(suite.attrib[key]) for suite in root) for key in kinds
    }


def test_tests_have_their_names_and_times() -> None:
    """Each testcase has its test's names and time."""
    [suite] = document("bare")
    assert (suite.get("timestamp"), suite.get("time")) == ("2026-01-02T03:04:05", "1.500")
    properties = {each.get("name"): each.get("value") for each in suite.iter("property")}
    assert properties == {"state": "red", "python": "3.11.7", "platform": "", "lock": "", "commit": ""}
    fine, fails, *_ = suite.iter("testcase")
    assert (fine.get("classname"), fine.get("file"), fine.get("time")) == ("tests.test_a", "tests/test_a.py", "0.250")
    assert fails.get("classname") == "tests.test_a.TestGroup"


def test_characters_that_xml_cannot_hold_are_written_out() -> None:
    """Characters that XML cannot contain are escaped."""
    text = junit.render(matrix())["bare"]
    assert text.encode("utf-8")
    assert ET.fromstring(text).findtext(".//failure") == r"test_a.py:3: assert 'a\x00<' == '\ud800'"  # noqa: S314
