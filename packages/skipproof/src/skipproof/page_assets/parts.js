// The data, and the helpers that everything else uses.

const matrix = JSON.parse(document.getElementById("data").textContent);

const SIGNS = { passed: "✓", failed: "✗", skipped: "–", xfailed: "x", xpassed: "X", missing: "?", deselected: "·" };
const STATES = { proved: "✓", red: "✗", unfinished: "…", stale: "≠", damaged: "!", missing: "?" };
const NOWHERE = "(no environment)";

const byId = (id) => document.getElementById(id);

/** Make an element. Strings become text nodes: the name of a test or a file can never become markup. */
const make = (tag, attributes = {}, ...children) => {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (value !== undefined && value !== null && value !== false) element.setAttribute(name, value);
  }
  element.append(...children);
  return element;
};

/** Make a table with a heading; cells are elements, or strings, which become plain cells. */
const makeTable = (headings, rows) => {
  const cell = (content) => (content instanceof HTMLTableCellElement ? content : make("td", {}, content));
  return make(
    "table", {},
    make("thead", {}, make("tr", {}, ...headings.map(([name, kind]) => make("th", { scope: "col", class: kind }, name)))),
    make("tbody", {}, ...rows.map((cells) => make("tr", {}, ...cells.map(cell)))),
  );
};

const number = (text) => make("td", { class: "number" }, text);
const rowName = (text) => make("th", { scope: "row", class: "name id" }, text);
const count = (value, noun) => `${value.toLocaleString("en")} ${noun}${value === 1 ? "" : "s"}`;
const asSeconds = (value) => (value ?? 0).toFixed(2);
const asPercent = (value) => {
  if (value === undefined) return "";
  // 99.996 is not 100: incomplete coverage never looks complete.
  return `${(Math.floor(value * 100) / 100).toFixed(2)} %`;
};
const shortDigest = (digest) => (digest ? make("code", { title: digest }, digest.slice(0, 10)) : "");
const shortCommit = (commit) => {
  if (!commit) return "";
  const changed = commit.endsWith("+") ? "+" : "";
  return make("code", { title: commit }, commit.slice(0, 10).replace(/\+$/, "") + changed);
};
const asTime = (text) => (text ? `${text.slice(0, 10)} ${text.slice(11, 16)}` : "");

const sessions = matrix.sessions ?? [];
const environmentOf = (session) => session.environment ?? NOWHERE;
// The columns of the grid: sessions of one environment are adjacent, in the order requested.
// A session that left nothing to read has no column; the table of sessions says what happened to it.
const readable = new Set((matrix.tests ?? []).flatMap((test) => Object.keys(test.cells ?? {})));
const gridSessions = sessions.filter(({ name, environment }) => environment || readable.has(name));
const environments = [...new Set(gridSessions.map(environmentOf))];
const columns = environments.flatMap((name) => gridSessions.filter((session) => environmentOf(session) === name));
