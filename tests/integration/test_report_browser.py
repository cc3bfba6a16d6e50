"""The report's page as people see it, in this machine's browser."""

from __future__ import annotations

import os
import shutil
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

import pytest

from skipproof.matrix import Cell, FileCoverage, Matrix, TestRow
from skipproof.page import render
from skipproof.table import read_contract
from support.matrix_samples import HOSTILE, SKIP, everything, hostile, session, wide

from .page_measures import CELLS, FOCUSED, HIDDEN_HEIGHT, OVERFLOW, POOR_CONTRAST, QUIET, SHOWN_SESSIONS, SHOWN_TESTS

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable

    from playwright.async_api import Browser, Page

pytestmark = pytest.mark.requires("browser")

Show: TypeAlias = "Callable[..., Awaitable[Page]]"

DASH = "\N{EN DASH}"
SLOW, FAILS, OTHER, LOST = "test_slow", "test_fails", "TestA::test_other[a::b]", "test_lost"


@pytest.fixture(scope="session")
async def chromium() -> AsyncIterator[Browser]:
    """This machine's browser; none is ever downloaded."""
    from playwright.async_api import async_playwright

    programs = read_contract(Path(__file__).parents[2]).capabilities["browser"].programs
    program = next(filter(None, map(shutil.which, programs)))
    # Chromium cannot sandbox root, and in many containers everybody is root.
    flags = [*QUIET, "--no-first-run", *(["--no-sandbox"] * (os.geteuid() == 0))]
    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(executable_path=program, args=flags)
        yield browser
        await browser.close()


@pytest.fixture
def faults() -> list[str]:
    """The browser's complaints, and the page's requests to others, so far."""
    return []


@pytest.fixture
async def show(chromium: Browser, tmp_path: Path, faults: list[str]) -> AsyncIterator[Show]:
    """Open the page of a matrix from a file; nothing may go wrong in it, whatever a test does."""
    path = tmp_path / "report & more #1.html"

    async def show(matrix: Matrix, fragment: str = "", **options: Any) -> Page:
        path.write_text(render(matrix), encoding="utf-8")
        context = await chromium.new_context(**{"viewport": {"width": 1400, "height": 900}, **options})
        context.set_default_timeout(5000)
        page = await context.new_page()
        page.on("console", lambda message: faults.append(message.text))
        page.on("pageerror", lambda error: faults.append(str(error)))
        page.on("dialog", lambda dialog: faults.append(dialog.message))
        page.on("request", lambda request: None if request.url == path.as_uri() else faults.append(request.url))
        await page.goto(f"{path.as_uri()}{fragment}")
        await page.wait_for_selector("html[data-ready]", state="attached")
        return page

    yield show
    for context in chromium.contexts:
        await context.close()
    assert faults == []


async def text(page: Page, selector: str) -> str:
    """Return the visible text of one element, with its white space collapsed."""
    return " ".join((await page.locator(selector).inner_text()).split())


async def test_verdict_comes_first_with_every_problem(show: Show) -> None:
    """A red report starts with its verdict and every problem."""
    page = await show(everything())
    assert await page.locator("main > section").first.get_attribute("id") == "verdict"
    shown = await text(page, "#verdict")
    assert shown.startswith(
        "✗ Not proved: 2 problems 4 sessions · 4 tests · 98.25 % covered, as far as known · 2 tests unproven"
    )
    listed = await page.locator("#verdict li").all_inner_texts()
    assert listed == [*everything().problems, *everything().notes]


async def test_green_matrix_is_proved(show: Show) -> None:
    """A matrix without a problem is called proved."""
    page = await show(replace(everything(), problems=[]))
    assert (await text(page, "#verdict")).startswith("✓ Proved")


async def test_sessions_are_listed_with_their_facts(show: Show) -> None:
    """Sessions have every column and their machines, and 99.996 % is not rounded to 100."""
    page = await show(everything())
    assert await text(page, "#machines") == "unit-3.11, unit-3.12: processor: a processor; features: avx2"
    rows = [" ".join(row.split()) for row in await page.locator("#sessions tbody tr").all_inner_texts()]
    assert rows == [
        "unit-3.11 bare ✓ proved 4 0 0 12.50 99.99 % 0123456789 0123456789+ 3.11.7",
        "llm full ✗ red 6 1,234 1 0.00",
        "is red: fix it 2 violations",
        "unit-3.12 bare ✓ proved 0 0 0 0.00",
        "gone ? missing 0 0 0 0.00",
        "has no receipt: run this session",
    ]


async def test_grid_shows_the_outcome_of_every_test_in_every_session(show: Show) -> None:
    """Each cell shows its test's outcome by a sign, not by colour alone."""
    matrix = everything()
    page = await show(matrix)
    order = await page.evaluate(SHOWN_SESSIONS)
    # Sessions of one environment are neighbours; one that left nothing has no column.
    assert order == ["unit-3.11", "unit-3.12", "llm"]
    cells: dict[str, list[list[str | None]]] = await page.evaluate(CELLS)
    signs = {"passed": "✓", "failed": "✗", "skipped": DASH, "xfailed": "x", "xpassed": "X", "missing": "?"}
    for test in matrix.tests:
        for name, (outcome, sign) in zip(order, cells[test.id], strict=True):
            cell = test.cells.get(name)
            expected = [cell.outcome, signs[cell.outcome] + "!" * bool(cell.violation)] if cell else [None, ""]
            assert [outcome, sign] == expected
    assert len(cells) == len(matrix.tests)


@pytest.mark.parametrize(
    ("fragment", "tests", "sessions"),
    [
        ("", [SLOW, FAILS, OTHER, LOST], 3),
        ("#text=TEST_B+slow", [SLOW], 3),
        ("#outcome=failed&outcome=missing", [FAILS, LOST], 3),
        ("#outcome=violation", [OTHER], 3),
        ("#outcome=passed&environment=full", [SLOW], 1),
        ("#text=no+such+test", [], 3),
        ("#environment=bare", [SLOW, OTHER, LOST], 2),
        ("#outcome=unheard-of&environment=nowhere&sort=sideways&other=1", [SLOW, FAILS, OTHER, LOST], 3),
    ],
)
async def test_address_holds_the_view(show: Show, fragment: str, tests: list[str], sessions: int) -> None:
    """The address restores the view, and an old one does no harm."""
    page = await show(everything(), fragment)
    assert await page.evaluate(SHOWN_TESTS) == tests
    assert len(await page.evaluate(SHOWN_SESSIONS)) == sessions
    count = f"{len(tests)} of 4 tests:" if tests else "None of 4 tests matches these filters."
    assert (await text(page, "#shown")).startswith(count)


async def test_filters_change_the_view_and_its_address(show: Show) -> None:
    """Filters show and count the right tests, and are in the address."""
    page = await show(everything())
    await page.fill("#text", "test_b")
    await page.get_by_text("✓ passed", exact=True).first.click()
    await page.locator("#environments").get_by_text("full").click()
    assert await page.evaluate(SHOWN_TESTS) == [SLOW]
    assert await page.evaluate(SHOWN_SESSIONS) == ["llm"]
    assert await text(page, "#shown") == "1 of 4 tests: 1 passed"
    assert page.url.endswith("#text=test_b&outcome=passed&environment=full")
    await page.click("#clear")
    assert await page.evaluate(SHOWN_TESTS) == [SLOW, FAILS, OTHER, LOST]
    assert await text(page, "#shown") == "4 of 4 tests: 2 passed, 1 failed, 1 skipped, 1 xfailed, 1 xpassed, 1 missing"
    assert "#" not in page.url.removesuffix(".html").rpartition("/")[2]


async def test_changed_address_changes_the_view(show: Show) -> None:
    """An address pasted into the open page changes the view."""
    page = await show(everything())
    await page.evaluate("() => { location.hash = '#outcome=failed' }")
    await page.wait_for_function("() => document.querySelector('#shown').innerText.startsWith('1 of 4')")
    assert await page.locator("input[value=failed]").is_checked()


@pytest.mark.parametrize(
    ("key", "order"),
    [
        ("time", [SLOW, OTHER, FAILS, LOST]),
        ("time:unit-3.11", [OTHER, SLOW, LOST, FAILS]),
        ("collection", [SLOW, FAILS, OTHER, LOST]),
    ],
)
async def test_tests_can_be_sorted_by_time_and_back(show: Show, key: str, order: list[str]) -> None:
    """The slowest test comes first, and the order of collection can be restored."""
    page = await show(everything(), "#sort=time%3Allm")
    await page.click(f'button[data-sort="{key}"]')
    files = {SLOW: "test_b", FAILS: "test_b", OTHER: "test_a", LOST: "test_a"}
    prefix = "" if key == "collection" else "tests/{}.py::"
    assert await page.evaluate(SHOWN_TESTS) == [prefix.format(files[name]) + name for name in order]
    sorted_by = page.locator("#grid th[aria-sort=descending], #grid th[aria-sort=other]")
    assert await sorted_by.locator("button").get_attribute("data-sort") == key


async def test_only_shown_environments_count_as_time(show: Show) -> None:
    """Sorting by time counts only the environments that are shown."""
    page = await show(everything(), "#environment=bare&sort=time")
    assert [name.rpartition(".py::")[2] for name in await page.evaluate(SHOWN_TESTS)] == [OTHER, SLOW, LOST]
    assert await page.locator("td.time:visible").first.inner_text() == "2.50"


async def test_files_fold(show: Show) -> None:
    """A file's tests can be folded, and stay folded."""
    page = await show(everything())
    await page.click("text=tests/test_b.py")
    assert await page.evaluate(SHOWN_TESTS) == [OTHER, LOST]
    await page.fill("#text", "test")
    assert await page.evaluate(SHOWN_TESTS) == [OTHER, LOST]
    await page.click("#fold")
    assert await page.evaluate(SHOWN_TESTS) == []
    await page.click("#fold")
    assert await page.evaluate(SHOWN_TESTS) == [SLOW, FAILS, OTHER, LOST]


async def test_hover_shows_reason_and_time(show: Show) -> None:
    """Pointing at a skipped test shows its reason and time, for as long as it lasts."""
    page = await show(everything())
    await page.hover("td[data-outcome=skipped]")
    expected = f"tests/test_b.py::test_slow Session unit-3.11 (bare) Outcome {DASH} skipped Time 0.001 s Reason {SKIP}"
    assert await text(page, "#details") == expected
    await page.hover("h1")
    assert await page.locator("#details").is_hidden()


async def test_details_tell_the_inference(show: Show) -> None:
    """The details show the trace of real inference, and a click keeps them open."""
    page = await show(everything())
    await page.click("td[data-outcome=passed]:not([data-violation])")
    await page.hover("h1")
    assert (await text(page, "#details")).endswith("Inference 1 token in 0.25 s, model 0123456789ab")
    await page.click("text=Close")
    assert await page.locator("#details").is_hidden()
    await page.click("td[data-outcome=failed]")
    assert (await text(page, "#details")).endswith("Message boom")
    await page.click("td[data-violation]")
    assert (await text(page, "#details")).endswith("Violation ran, although it should not")
    await page.mouse.click(5, 5)
    assert await page.locator("#details").is_hidden()


async def test_keyboard_alone_is_enough(show: Show) -> None:
    """The keyboard alone can filter, reach a cell, read its details, and go back."""
    page = await show(everything())
    keys = page.keyboard
    await keys.press("/")
    await keys.type("test_b")
    assert await page.evaluate(SHOWN_TESTS) == [SLOW, FAILS]
    await page.focus("#clear")
    await keys.press("Tab")
    assert await page.evaluate(FOCUSED) == "tests/test_b.py"
    for key, focused in [
        ("ArrowDown", SLOW),
        ("ArrowRight", DASH),
        ("End", "7.50"),
        ("ArrowLeft", "✓"),
        ("Home", SLOW),
        ("PageDown", FAILS),
        ("ArrowDown", FAILS),
        ("Control+End", "1.00"),
        ("PageUp", "Seconds"),
        ("Control+Home", "tests/test_b.py"),
        ("ArrowLeft", "tests/test_b.py"),
        ("ArrowDown", SLOW),
        ("ArrowRight", DASH),
    ]:
        await keys.press(key)
        assert (key, await page.evaluate(FOCUSED)) == (key, focused)
    assert SKIP in await text(page, "#details")
    outline = await page.evaluate("() => getComputedStyle(document.activeElement).outlineStyle")
    assert outline == "solid"
    await keys.press("Enter")
    await page.focus("#details button")
    await keys.press("Escape")
    assert await page.locator("#details").is_hidden()
    assert await page.evaluate(FOCUSED) == DASH
    await keys.press("Tab")
    # The whole grid is one tab stop.
    assert await page.evaluate("() => document.activeElement.id") == "coverage"


@pytest.mark.parametrize("scheme", ["light", "dark"])
async def test_every_text_can_be_read(show: Show, scheme: str) -> None:
    """All text has the contrast that WCAG AA asks for, in light and dark mode."""
    page = await show(everything(), "#outcome=failed&outcome=passed", color_scheme=scheme)
    await page.click("td[data-outcome=failed]")
    assert await page.evaluate(POOR_CONTRAST) == []
    assert await page.locator("#details").is_visible()
    paper = await page.evaluate("() => getComputedStyle(document.body).backgroundColor.match(/\\d+/g).map(Number)[0]")
    assert (paper < 128) == (scheme == "dark")


async def test_poor_contrast_is_noticed(show: Show) -> None:
    """The measuring of contrast sees poor contrast, so the test above can fail."""
    page = await show(everything())
    await page.evaluate("() => { document.querySelector('h1').style.color = '#999' }")
    assert await page.evaluate(POOR_CONTRAST) == ["sample: rgb(153, 153, 153) on 247,248,249"]


@pytest.mark.parametrize("make", [everything, wide, hostile])
async def test_phone_never_scrolls_sideways(show: Show, make: Callable[[], Matrix]) -> None:
    """On a phone, neither a long name nor a wide table makes the page scroll sideways."""
    page = await show(make(), viewport={"width": 360, "height": 740}, has_touch=True)
    assert await page.evaluate(OVERFLOW) <= 0
    await page.tap("td[data-outcome]")
    box = await page.locator("#details").bounding_box()
    assert box is not None
    assert (box["x"] >= 0, box["x"] + box["width"] <= 360, box["y"] + box["height"] <= 740) == (True, True, True)
    assert await page.evaluate(OVERFLOW) <= 0
    # The first column stays in place while the others scroll.
    await page.evaluate("() => { document.querySelector('#grid-box').scrollLeft = 200 }")
    names = await page.locator("th.test").first.bounding_box()
    assert names is not None
    assert 0 <= names["x"] < 20


async def test_hostile_names_stay_text(show: Show, faults: list[str]) -> None:
    """A test named like markup stays text: no script runs, and no image is requested."""
    page = await show(hostile())
    await page.click("td[data-outcome]")
    assert faults == []
    assert await page.locator("img, script:not(#data):not([type=module])").count() == 0
    assert await page.locator("h1").text_content() == HOSTILE
    assert await page.locator("#details .id").text_content() == f"{HOSTILE}::{HOSTILE}"
    await page.locator("#environments label").first.click()
    assert await page.locator("#grid tbody tr:visible").count() == 2


async def test_page_may_load_nothing(show: Show, faults: list[str]) -> None:
    """The page's policy blocks foreign scripts and the network, and the browser reports each try."""
    page = await show(everything())
    await page.evaluate("() => document.body.append(Object.assign(new Image(), { src: 'http://127.0.0.1:9/' }))")
    await page.evaluate("() => { document.querySelector('h1').setAttribute('onclick', 'alert(1)') }")
    await page.click("h1")
    assert [fault.partition(" violates ")[0] for fault in faults] == [
        "Loading the image 'http://127.0.0.1:9/'",
        "http://127.0.0.1:9/",  # requested, and refused before anything was sent
        "Executing inline event handler",
    ]
    faults.clear()


async def test_coverage_says_what_a_single_environment_reaches(show: Show) -> None:
    """Coverage shows each environment, the missing lines, and those only one reaches."""
    page = await show(everything())
    assert await text(page, "#coverage-summary") == (
        "Lines and branches: 98.25 % by all sessions together, 100.00 % required; each environment alone: "
        "bare 61.00 %, full 97.00 %. Some sessions' data could not be used: the total may be higher. "
        "“Only” lists lines that a single environment reaches."
    )
    assert await text(page, "#coverage thead") == "File Statements Together bare full Missing Only"
    rows = [" ".join(row.split()) for row in await page.locator("#coverage tbody tr").all_inner_texts()]
    assert rows == [
        "sample/part.py 1,200 97.50 % 60.00 % 97.50 % 3-7, 9->12 full 20-31, 40 bare 10 ranges",
        "sample/whole.py 3 100.00 % 100.00 %",
    ]


async def test_coverage_says_what_is_left_out(show: Show) -> None:
    """Lines and branches that a pragma or a setting excludes have a column, where there are any."""
    file = FileCoverage(path="a.py", statements=2, percent=100, excluded=["3-4"], unbranched=["7"])
    page = await show(replace(everything(), files=[file]))
    assert (await text(page, "#coverage-summary")).endswith(", “Left out” what a pragma or a setting excludes.")
    assert await text(page, "#coverage thead") == "File Statements Together Missing Only Left out"
    assert await text(page, "#coverage tbody") == "a.py 2 100.00 % 3-4, 7 (branch)"


async def test_unproven_tests_are_named_with_their_last_proof(show: Show) -> None:
    """A test that ran nowhere is named, with when it was last proved."""
    page = await show(everything())
    assert (await text(page, "#unproven-summary")).startswith("2 tests ran nowhere this time")
    rows = [" ".join(row.split()) for row in await page.locator("#unproven tbody tr").all_inner_texts()]
    assert rows == [
        "tests/test_g.py::test_gpu cuda 2025-12-24 18:00 0123456789 integration-cuda",
        "tests/test_g.py::test_never cuda, llm never",
    ]


async def test_empty_matrix_says_so(show: Show) -> None:
    """A page without receipts says so, and shows no empty filters or tables."""
    page = await show(Matrix(project="sample", generated="", problems=["there is no receipt at all: run a session"]))
    assert (await text(page, "#verdict")).endswith("there is no receipt at all: run a session")
    assert await text(page, "#shown") == "No test was collected."
    assert await text(page, "#sessions") == "No session left a receipt."
    assert (await text(page, "#coverage-summary")).startswith("There is no merged coverage")
    assert await text(page, "#unproven-summary") == "None: every test had a machine with what it needs."
    assert await page.locator("table:visible, form:visible").count() == 0


async def test_paper_shows_the_whole_grid(show: Show) -> None:
    """A printed report shows the whole grid, and no controls."""
    cells = {"unit": Cell(outcome="passed")}
    tests = [TestRow(id=f"tests/test_a.py::test_{number}", cells=cells) for number in range(99)]
    page = await show(Matrix(project="sample", generated="", sessions=[session("unit")], tests=tests))
    assert await page.evaluate(HIDDEN_HEIGHT) > 0
    await page.emulate_media(media="print")
    assert await page.evaluate(HIDDEN_HEIGHT) == 0
    assert await page.locator("form:visible").count() == 0
