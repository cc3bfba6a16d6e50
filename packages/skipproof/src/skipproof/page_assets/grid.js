// The grid of tests by session: built once; filtering and sorting only hide and move its rows.

const grid = byId("grid");
// What each row or cell shows, so that the details need no second copy in attributes.
const subjects = new WeakMap();

const makeCell = (test, session) => {
  const cell = test.cells?.[session.name];
  const element = make("td", { role: "gridcell", tabindex: -1 });
  if (cell) {
    element.dataset.outcome = cell.outcome;
    element.dataset.seconds = asSeconds(cell.seconds);
    if (cell.violation) element.dataset.violation = "";
    element.textContent = SIGNS[cell.outcome] + (cell.violation ? "!" : "");
    const broken = cell.violation ? ", breaks the contract" : "";
    element.setAttribute("aria-label", `${cell.outcome}${broken}, ${asSeconds(cell.seconds)} s`);
  } else {
    element.setAttribute("aria-label", "not collected");
  }
  subjects.set(element, { test, session, cell });
  return element;
};

const makeRow = (test) => {
  const [file, ...rest] = test.id.split("::");
  const text = make("span", {}, make("span", { class: "file-name" }, rest.length > 0 ? `${file}::` : ""), rest.join("::") || file);
  const head = make("th", { scope: "row", role: "rowheader", class: "test id", tabindex: -1 }, text);
  subjects.set(head, { test });
  const time = make("td", { role: "gridcell", class: "time", tabindex: -1 });
  const cells = columns.map((session) => makeCell(test, session));
  const element = make("tr", { role: "row" }, head, ...cells, time);
  return { test, file, element, cells, time, words: test.id.toLowerCase(), seconds: 0, shown: true };
};

/** What became of a file's tests in one session: its figures, in the colour of the worst of them. */
const makeFileCell = (rows, session) => {
  const counts = new Map();
  for (const { test } of rows) {
    const outcome = test.cells?.[session.name]?.outcome;
    if (outcome) counts.set(outcome, (counts.get(outcome) ?? 0) + 1);
  }
  const order = ["failed", "missing", "xpassed", "xfailed", "passed", "skipped", "deselected"].filter((outcome) => counts.has(outcome));
  const text = order.map((outcome) => `${SIGNS[outcome]}${counts.get(outcome)}`).join("\u2002");
  const label = order.map((outcome) => `${counts.get(outcome)} ${outcome}`).join(", ") || "not collected";
  return make("td", { role: "gridcell", tabindex: -1, "data-worst": order[0], "aria-label": label }, text);
};

const makeFile = (name, rows) => {
  const button = make("button", { type: "button", tabindex: -1, "aria-expanded": "true" }, name);
  const cells = columns.map((session) => makeFileCell(rows, session));
  const time = make("td", { role: "gridcell", class: "time", tabindex: -1 });
  const head = make("tr", { role: "row", class: "file" }, make("th", { scope: "row", role: "rowheader", class: "id" }, button), ...cells, time);
  const body = make("tbody", { role: "rowgroup" }, head, ...rows.map((row) => row.element));
  const file = { name, rows, head, body, button, cells, time, folded: false };
  button.addEventListener("click", () => fold(file, !file.folded));
  return file;
};

const fold = (file, folded) => {
  file.folded = folded;
  file.button.setAttribute("aria-expanded", String(!folded));
  for (const row of file.rows) row.element.hidden = folded || !row.shown;
};

const rows = (matrix.tests ?? []).map(makeRow);
const files = [...Map.groupBy(rows, (row) => row.file)].map(([name, group]) => makeFile(name, group));
// Sorted by time, the tests of all files form one list.
const flatBody = make("tbody", { role: "rowgroup" });

const sortButton = (name, key) => make("button", { type: "button", tabindex: -1, "data-sort": key }, name);
const headCells = columns.map((session) =>
  make("th", { scope: "col", role: "columnheader" }, sortButton(session.name, `time:${session.name}`)));
const environmentCells = environments.map((name) =>
  make("th", { scope: "colgroup", role: "columnheader", class: "environment", colspan: columns.filter((session) => environmentOf(session) === name).length }, name));
const headRow = make(
  "tr", { role: "row" },
  make("th", { scope: "col", role: "columnheader" }, sortButton("Test", "collection")),
  ...headCells,
  make("th", { scope: "col", role: "columnheader" }, sortButton("Seconds", "time")),
);

const buildGrid = () => {
  const top = make("tr", { role: "row" }, make("th", { role: "presentation" }), ...environmentCells, make("th", { role: "presentation" }));
  grid.append(make("thead", { role: "rowgroup" }, top, headRow), ...files.map((file) => file.body), flatBody);
  const legend = Object.entries(SIGNS).map(([outcome, sign]) => make("span", { "data-outcome": outcome }, `${sign} ${outcome}`));
  byId("legend").append(...legend.flatMap((item) => [item, " "]), "! breaks the contract; an empty cell: not collected there");
};

const isShownColumn = (state, session) => state.environments.size === 0 || state.environments.has(environmentOf(session));

/** Hide the columns of the other environments, and add up each test's seconds in those that are left. */
const applyColumns = (state) => {
  const shown = columns.map((session) => isShownColumn(state, session));
  const hide = (cells) => cells.forEach((cell, index) => { cell.hidden = !shown[index]; });
  hide(headCells);
  environmentCells.forEach((cell, index) => {
    cell.hidden = state.environments.size > 0 && !state.environments.has(environments[index]);
  });
  for (const row of rows) {
    hide(row.cells);
    row.seconds = columns.reduce((sum, { name }, index) => sum + (shown[index] ? row.test.cells?.[name]?.seconds ?? 0 : 0), 0);
    row.time.textContent = asSeconds(row.seconds);
  }
  for (const file of files) {
    hide(file.cells);
    file.time.textContent = asSeconds(file.rows.reduce((sum, row) => sum + row.seconds, 0));
  }
};

const matches = (row, words, state, shown) => {
  if (!words.every((word) => row.words.includes(word))) return false;
  if (state.outcomes.size === 0 && state.environments.size === 0) return true;
  return shown.some(({ name }) => {
    const cell = row.test.cells?.[name];
    return cell && (state.outcomes.size === 0 || state.outcomes.has(cell.outcome) || (cell.violation && state.outcomes.has("violation")));
  });
};

/** Hide the rows that the filters leave out, and count what is left. */
const applyRows = (state) => {
  const words = state.text.toLowerCase().split(/\s+/).filter(Boolean);
  const shown = columns.filter((session) => isShownColumn(state, session));
  const flat = state.sort !== "collection";
  const counts = new Map();
  for (const file of files) {
    for (const row of file.rows) {
      row.shown = matches(row, words, state, shown);
      row.element.hidden = !row.shown || (file.folded && !flat);
      if (!row.shown) continue;
      for (const { name } of shown) {
        const outcome = row.test.cells?.[name]?.outcome;
        if (outcome) counts.set(outcome, (counts.get(outcome) ?? 0) + 1);
      }
    }
    file.head.hidden = flat || !file.rows.some((row) => row.shown);
  }
  return { tests: rows.filter((row) => row.shown).length, counts };
};

/** A test that was not collected in a session comes after those that took no time there. */
const secondsIn = (row, name) => {
  const cell = row.test.cells?.[name];
  return cell ? cell.seconds ?? 0 : -1;
};

/** Move the rows: back under their files, or slowest first into one list. */
const applySort = (state) => {
  const flat = state.sort !== "collection";
  grid.classList.toggle("flat", flat);
  if (flat) {
    const session = state.sort.startsWith("time:") ? state.sort.slice("time:".length) : null;
    const slowness = session === null ? (row) => row.seconds : (row) => secondsIn(row, session);
    flatBody.append(...[...rows].sort((a, b) => slowness(b) - slowness(a)).map((row) => row.element));
  } else {
    for (const file of files) file.body.append(...file.rows.map((row) => row.element));
  }
  for (const cell of headRow.cells) {
    const key = cell.firstChild.dataset.sort;
    const direction = key === "collection" ? "other" : "descending";
    cell.setAttribute("aria-sort", key === state.sort ? direction : "none");
  }
};
