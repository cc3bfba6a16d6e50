"""The matrix as JUnit XML: one document per environment, one testsuite per session.

Programs that read it know passed, skipped, failure and error. A breach of the contract is a failure, whatever the
test's outcome: in pytest's own XML a skip for the wrong reason is only skipped, and an unexpected pass has passed. A
problem of the session itself is an error in a testcase of its own, so that no reader can miss it.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING
from xml.etree import ElementTree as ET

from .summary import sessions_by_environment

if TYPE_CHECKING:
    from .matrix import Cell, Matrix, SessionRow

_ILLEGAL = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


def render(matrix: Matrix) -> dict[str, str]:
    """Return the documents by environment; sessions without a readable receipt are in "unknown"."""
    return {name: _document(matrix, name, rows) for name, rows in sessions_by_environment(matrix)}


def _document(matrix: Matrix, environment: str, rows: list[SessionRow]) -> str:
    root = ET.Element("testsuites", name=_legal(f"{matrix.project} in {environment}"))
    for row in rows:
        root.append(_suite(matrix, row))
    for name in ("tests", "failures", "errors", "skipped"):
        root.set(name, str(sum(int(suite.attrib[name]) for suite in root)))
    root.set("time", f"{sum(row.seconds for row in rows):.3f}")
    ET.indent(root)
    return '<?xml version="1.0" encoding="utf-8"?>\n' + ET.tostring(root, encoding="unicode") + "\n"


def _suite(matrix: Matrix, row: SessionRow) -> ET.Element:
    suite = ET.Element("testsuite", name=_legal(row.name), time=f"{row.seconds:.3f}")
    if row.started is not None:
        suite.set("timestamp", _legal(row.started.partition("+")[0]))
    properties = ET.SubElement(suite, "properties")
    for name in ("state", "python", "platform", "lock", "commit"):
        ET.SubElement(properties, "property", name=name, value=_legal(getattr(row, name) or ""))
    for name, text in row.machine.items():
        ET.SubElement(properties, "property", name=f"machine {_legal(name)}", value=_legal(text))
    for test in matrix.tests:
        if row.name in test.cells and test.cells[row.name].outcome != "deselected":
            suite.append(_case(test.id, test.cells[row.name]))
    if row.problems:
        case = ET.SubElement(suite, "testcase", classname="skipproof", name="the session counts as proof", time="0.000")
        _add(case, "error", row.state, "\n".join([*row.problems, *row.violations]))
    suite.set("tests", str(len(suite.findall("testcase"))))
    for name, kind in (("failures", "failure"), ("errors", "error"), ("skipped", "skipped")):
        suite.set(name, str(len(suite.findall(f"testcase/{kind}"))))
    return suite


def _case(name: str, cell: Cell) -> ET.Element:
    file, _, rest = name.partition("::")
    *classes, function = _split(rest)
    classname = ".".join([*file.removesuffix(".py").split("/"), *classes])
    case = ET.Element("testcase", classname=_legal(classname), name=_legal(function), time=f"{cell.seconds:.3f}")
    case.set("file", _legal(file))
    if cell.violation is not None:
        _add(case, "failure", "skipproof.violation", "\n".join(filter(None, [cell.violation, cell.message])))
    elif cell.outcome == "failed":
        _add(case, "failure", "failed", cell.message or "failed")
    elif cell.outcome == "skipped":
        _add(case, "skipped", "pytest.skip", cell.reason or "skipped")
    elif cell.outcome == "xfailed":
        _add(case, "skipped", "pytest.xfail", cell.reason or "xfailed")
    elif cell.outcome != "passed":
        _add(case, "error", cell.outcome, cell.reason or f"{cell.outcome}: the run has no other outcome for it")
    return case


def _split(name: str) -> list[str]:
    """Return classes and function of a node id, without splitting what is in the brackets of parameters."""
    plain, bracket, parameters = name.partition("[")
    *classes, function = plain.split("::")
    return [*classes, function + bracket + parameters]


def _add(case: ET.Element, tag: str, kind: str, message: str) -> None:
    ET.SubElement(case, tag, type=_legal(kind), message=_legal(message.partition("\n")[0])).text = _legal(message)


def _legal(text: str) -> str:
    """Escape characters that XML cannot contain as Python would."""
    return _ILLEGAL.sub(lambda found: ascii(found[0])[1:-1], text)
