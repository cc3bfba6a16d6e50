// One tab stop for the whole grid, and arrow keys within it, as in the ARIA pattern for grids.

const PAGE_OF_ROWS = 10;

/** What takes the focus for a cell: its button, where it has one. */
const target = (cell) => cell.querySelector("button") ?? cell;
const cellOf = (element) => element.closest("#grid td, #grid th");
const shownRows = () => [headRow, ...grid.querySelectorAll("tbody tr:not([hidden])")];
const shownCells = (row) => [...row.cells].filter((cell) => !cell.hidden);

let stop = null;

/** Make this cell the one at which Tab enters the grid. */
const setStop = (cell) => {
  if (stop) target(stop).tabIndex = -1;
  stop = cell;
  target(stop).tabIndex = 0;
};

/** After filtering: the stop may be hidden now, and a hidden stop would leave no way into the grid. */
const renewStop = () => {
  if (stop?.checkVisibility()) return;
  const [, first] = shownRows();
  setStop((first ?? headRow).cells[0]);
};

const moved = (cell, event) => {
  const row = cell.parentElement;
  const cells = shownCells(row);
  const across = (index) => cells[Math.max(0, Math.min(index, cells.length - 1))];
  const down = (step) => {
    const all = shownRows();
    const index = Math.max(0, Math.min(all.indexOf(row) + step, all.length - 1));
    return all[index].cells[cell.cellIndex];
  };
  const whole = event.ctrlKey || event.metaKey;
  switch (event.key) {
    case "ArrowLeft": return across(cells.indexOf(cell) - 1);
    case "ArrowRight": return across(cells.indexOf(cell) + 1);
    case "ArrowUp": return down(-1);
    case "ArrowDown": return down(1);
    case "PageUp": return down(-PAGE_OF_ROWS);
    case "PageDown": return down(PAGE_OF_ROWS);
    case "Home": return whole ? shownCells(shownRows()[1] ?? headRow)[0] : across(0);
    case "End": return whole ? shownCells(shownRows().at(-1)).at(-1) : across(cells.length - 1);
    default: return null;
  }
};

const onGridKey = (event) => {
  const cell = cellOf(event.target);
  const next = event.altKey ? null : moved(cell, event);
  if (next) {
    event.preventDefault();
    target(next).focus();
  } else if ((event.key === "Enter" || event.key === " ") && subjects.has(cell)) {
    event.preventDefault();
    pinDetails(cell, subjects.get(cell));
  }
};

const onPageKey = (event) => {
  if (event.key === "/" && !event.target.closest("input, select")) {
    event.preventDefault();
    byId("text").focus();
    byId("text").select();
  } else if (event.key === "Escape" && shownFor) {
    closeDetails();
  }
};

const listenToKeys = () => {
  grid.addEventListener("keydown", onGridKey);
  document.addEventListener("keydown", onPageKey);
};
