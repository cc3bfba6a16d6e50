// The state of the filters, kept in the URL's fragment, so that a view can be shared.

const OUTCOMES = [...Object.keys(SIGNS), "violation"];
const SORTS = ["collection", "time", ...columns.map((session) => `time:${session.name}`)];

const readState = () => {
  const fragment = new URLSearchParams(location.hash.slice(1));
  const known = (key, values) => new Set(fragment.getAll(key).filter((value) => values.includes(value)));
  const [sort = SORTS[0]] = known("sort", SORTS);
  return {
    text: fragment.get("text") ?? "",
    outcomes: known("outcome", OUTCOMES),
    environments: known("environment", environments),
    sort,
  };
};

const writeState = (state) => {
  const fragment = new URLSearchParams();
  if (state.text) fragment.set("text", state.text);
  for (const outcome of state.outcomes) fragment.append("outcome", outcome);
  for (const environment of state.environments) fragment.append("environment", environment);
  if (state.sort !== SORTS[0]) fragment.set("sort", state.sort);
  // Replaced, not pushed: going back leaves the page instead of undoing a filter letter by letter.
  const address = location.href.split("#", 1)[0];
  history.replaceState(null, "", fragment.size > 0 ? `${address}#${fragment}` : address);
};

const chip = (name, value) =>
  make("label", { class: "chip" }, make("input", { type: "checkbox", name, value }), make("span", {}, SIGNS[value] && name === "outcome" ? `${SIGNS[value]} ${value}` : value));

/** Offer only what there is to choose: outcomes that occur, and environments when there is more than one. */
const buildFilters = () => {
  const cells = rows.flatMap((row) => Object.values(row.test.cells ?? {}));
  const occurs = (outcome) => cells.some((cell) => (outcome === "violation" ? cell.violation : cell.outcome === outcome));
  byId("outcomes").append(...OUTCOMES.filter(occurs).map((outcome) => chip("outcome", outcome)));
  byId("environments").append(...environments.map((name) => chip("environment", name)));
  byId("environments").hidden = environments.length < 2;
  const names = ["as collected", "slowest first", ...columns.map(({ name }) => `slowest in ${name}`)];
  byId("sort").append(...SORTS.map((key, index) => make("option", { value: key }, names[index])));
};

const readControls = () => {
  const checked = (name) => [...document.querySelectorAll(`input[name="${name}"]:checked`)].map((box) => box.value);
  return {
    text: byId("text").value,
    outcomes: new Set(checked("outcome")),
    environments: new Set(checked("environment")),
    sort: byId("sort").value,
  };
};

const writeControls = (state) => {
  byId("text").value = state.text;
  byId("sort").value = state.sort;
  for (const box of document.querySelectorAll('input[name="outcome"]')) box.checked = state.outcomes.has(box.value);
  for (const box of document.querySelectorAll('input[name="environment"]')) box.checked = state.environments.has(box.value);
};

const describe = ({ tests, counts }) => {
  if (rows.length === 0) return "No test was collected.";
  if (tests === 0) return `None of ${count(rows.length, "test")} matches these filters.`;
  const outcomes = Object.keys(SIGNS).filter((outcome) => counts.has(outcome));
  const parts = outcomes.map((outcome) => `${counts.get(outcome).toLocaleString("en")} ${outcome}`);
  return `${tests.toLocaleString("en")} of ${count(rows.length, "test")}: ${parts.join(", ") || "no outcomes"}`;
};

let present = null;

const apply = (state) => {
  hideDetails();
  const before = present;
  present = state;
  const columnsChanged = !before || [...before.environments].join("\n") !== [...state.environments].join("\n");
  if (columnsChanged) applyColumns(state);
  // Typing in the filter moves no row: only a new order does, or a change in the columns that are added up.
  if (before?.sort !== state.sort || (columnsChanged && state.sort === "time")) applySort(state);
  byId("shown").textContent = describe(applyRows(state));
  byId("fold").disabled = state.sort !== SORTS[0];
  renewStop();
};

const onControls = () => {
  const state = readControls();
  writeState(state);
  apply(state);
};

const onClear = () => {
  byId("filters").reset();
  onControls();
};

const onFold = () => {
  const folded = files.some((file) => !file.folded);
  for (const file of files) fold(file, folded);
  byId("fold").textContent = folded ? "Unfold all files" : "Fold all files";
  renewStop();
};

const onSortButton = (event) => {
  const key = event.target.closest("button[data-sort]")?.dataset.sort;
  if (!key) return;
  byId("sort").value = key;
  onControls();
};

const listenToPointer = () => {
  // One listener for all cells, instead of thousands of closures.
  grid.addEventListener("focusin", (event) => {
    const cell = cellOf(event.target);
    setStop(cell);
    hideDetails();
    if (subjects.has(cell) && !comingBack) showDetails(cell, subjects.get(cell));
  });
  grid.addEventListener("focusout", () => { if (!pinned) hideDetails(); });
  document.addEventListener("pointerover", (event) => {
    if (pinned || details.contains(event.target)) return;
    const cell = cellOf(event.target);
    if (cell === shownFor && cell) return;
    if (cell && subjects.has(cell)) showDetails(cell, subjects.get(cell));
    else if (shownFor && shownFor !== document.activeElement) hideDetails();
  });
  grid.addEventListener("click", (event) => {
    const cell = cellOf(event.target);
    if (cell && subjects.has(cell)) pinDetails(cell, subjects.get(cell));
  });
  document.addEventListener("pointerdown", (event) => {
    if (pinned && !details.contains(event.target)) hideDetails();
  });
  byId("grid-box").addEventListener("scroll", () => { if (!pinned) hideDetails(); });
};

const start = () => {
  for (const id of ["filters", "tests"]) byId(id).hidden = rows.length === 0;
  showVerdict();
  showSessions();
  showMachines();
  buildGrid();
  buildFilters();
  showCoverage();
  showUnproven();
  showKnownFailures();
  const state = readState();
  writeControls(state);
  apply(state);
  listenToKeys();
  listenToPointer();
  grid.tHead.addEventListener("click", onSortButton);
  byId("fold").addEventListener("click", onFold);
  byId("filters").addEventListener("input", onControls);
  byId("filters").addEventListener("submit", (event) => event.preventDefault());
  byId("clear").addEventListener("click", onClear);
  window.addEventListener("hashchange", () => {
    // A fragment may also name an element, as the skip link's does.
    if (document.getElementById(location.hash.slice(1))) return;
    const next = readState();
    writeControls(next);
    apply(next);
  });
  document.documentElement.dataset.ready = "";
};

start();
