// Everything but the grid: verdict, sessions, coverage, and what is unproven.

const makeList = (texts) => make("ul", {}, ...texts.map((text) => make("li", {}, text)));

const showVerdict = () => {
  const problems = matrix.problems ?? [];
  const unproven = (matrix.unproven ?? []).length;
  byId("project").textContent = matrix.project;
  byId("generated").textContent = `${asTime(matrix.generated)} UTC`;
  const section = byId("verdict");
  const merged = matrix.coverage === undefined ? "no merged coverage" : `${asPercent(matrix.coverage)} covered${matrix.partial ? ", as far as known" : ""}`;
  const facts = [count(sessions.length, "session"), count((matrix.tests ?? []).length, "test"), merged];
  if (unproven > 0) facts.push(`${count(unproven, "test")} unproven: no machine had what they need`);
  const known = (matrix.known_failures ?? []).length;
  if (known > 0) facts.push(count(known, "known failure"));
  const verdict = problems.length === 0 ? "✓ Proved" : `✗ Not proved: ${count(problems.length, "problem")}`;
  section.append(make("strong", {}, verdict), make("p", { class: "muted" }, facts.join(" · ")));
  if (problems.length > 0) {
    section.classList.add("wrong");
    section.append(makeList(problems));
  }
  const notes = matrix.notes ?? [];
  if (notes.length > 0) section.append(make("div", { class: "notes muted" }, "Notes", makeList(notes)));
};

const showSessions = () => {
  const headings = [
    ["Session"], ["Environment"], ["State"], ["Ran", "number"], ["Skipped", "number"], ["Failed", "number"],
    ["Seconds", "number"], ["Coverage", "number"], ["Lock"], ["Commit"], ["Python"], ["Started, UTC"],
  ];
  const rows = sessions.map((session) => [
    rowName(session.name), make("td", { class: "name" }, `${session.environment ?? ""}${session.subset ? ` (${session.subset})` : ""}`),
    make("td", { class: `state ${session.state}` }, `${STATES[session.state]} ${session.state}`),
    ...[session.ran, session.skipped, session.failed].map((value) => number((value ?? 0).toLocaleString("en"))),
    number(asSeconds(session.seconds)), number(asPercent(session.coverage)),
    shortDigest(session.lock), shortCommit(session.commit),
    make("td", { title: session.platform }, session.python ?? ""), asTime(session.started),
  ]);
  const table = makeTable(headings, rows);
  const lines = [...table.tBodies[0].rows];
  sessions.forEach((session, index) => {
    const parts = [...(session.problems ?? [])].map((problem) => make("div", {}, problem));
    const violations = session.violations ?? [];
    if (violations.length > 0) parts.push(foldable(count(violations.length, "violation"), violations.join("\n")));
    if (parts.length === 0) return;
    lines[index].after(make("tr", {}, make("td", { class: "problems", colspan: headings.length }, ...parts)));
  });
  byId("sessions").append(sessions.length > 0 ? table : make("p", { class: "muted" }, "No session left a receipt."));
};

/** Each machine once, with its sessions and its facts. */
const showMachines = () => {
  const told = (session) => Object.entries(session.machine ?? {}).map(([name, text]) => `${name}: ${text}`).join("; ");
  const machines = Map.groupBy(sessions.filter((session) => told(session) !== ""), told);
  const line = ([facts, group]) => make("li", {}, `${group.map((session) => session.name).join(", ")}: ${facts}`);
  byId("machines").append(...[...machines].map(line));
};

const FOLDED_FROM = 8;
const foldable = (summary, content) => make("details", {}, make("summary", {}, summary), content);

const percentCell = (value, kind) => {
  const cell = make("td", { class: `number percent ${kind}` }, asPercent(value));
  // Set here, because the page's own policy forbids style attributes.
  if (value !== undefined) cell.style.setProperty("--part", `${value}%`);
  return cell;
};

/** Fold long lists of lines: they would push the other files out of sight. */
const lineRanges = (ranges = []) => {
  const all = make("span", { class: "lines" }, ranges.join(", "));
  return ranges.length > FOLDED_FROM ? foldable(count(ranges.length, "range"), all) : all;
};

const showCoverage = () => {
  const files = matrix.files ?? [];
  const box = byId("coverage");
  if (files.length === 0) {
    byId("coverage-summary").textContent = "There is no merged coverage; see the reasons at the top of the page.";
    box.hidden = true;
    return;
  }
  const leftOut = (file) => [...(file.excluded ?? []), ...(file.unbranched ?? []).map((line) => `${line} (branch)`)];
  const leaves = files.some((file) => leftOut(file).length > 0);
  const alone = Object.entries(matrix.environments ?? {}).map(([name, value]) => `${name} ${asPercent(value)}`);
  const gate = matrix.gate === undefined ? "" : `, ${asPercent(matrix.gate)} required`;
  byId("coverage-summary").textContent =
    `Lines and branches: ${asPercent(matrix.coverage)} by all sessions together${gate}`
    + `${alone.length > 0 ? `; each environment alone: ${alone.join(", ")}` : ""}. `
    + (matrix.partial ? "Some sessions' data could not be used: the total may be higher. " : "")
    + "“Only” lists lines that a single environment reaches"
    + (leaves ? ", “Left out” what a pragma or a setting excludes." : ".");
  const names = [...new Set(files.flatMap((file) => Object.keys(file.environments ?? {})))];
  const headings = [
    ["File"], ["Statements", "number"], ["Together", "number"], ...names.map((name) => [name, "number"]),
    ["Missing"], ["Only"],
  ];
  const only = (file) => Object.entries(file.only ?? {}).filter(([, ranges]) => ranges.length > 0).map(
    ([name, ranges]) => make("div", { class: "only" }, make("b", {}, name), " ", lineRanges(ranges)),
  );
  if (leaves) headings.push(["Left out"]);
  const rows = files.map((file) => [
    rowName(file.path), number(file.statements.toLocaleString("en")), percentCell(file.percent, file.percent < 100 ? "short" : "whole"),
    ...names.map((name) => percentCell(file.environments?.[name], "part")),
    make("td", { class: (file.missing ?? []).length > 0 ? "narrow" : "" }, lineRanges(file.missing)),
    make("td", { class: only(file).length > 0 ? "narrow" : "" }, ...only(file)),
    ...(leaves ? [make("td", { class: leftOut(file).length > 0 ? "narrow" : "" }, lineRanges(leftOut(file)))] : []),
  ]);
  box.append(makeTable(headings, rows));
};

const showUnproven = () => {
  const tests = matrix.unproven ?? [];
  const summary = tests.length === 0
    ? "None: every test had a machine with what it needs."
    : `${count(tests.length, "test")} ran nowhere this time: no machine had what they need.`;
  byId("unproven-summary").textContent = summary;
  byId("unproven").hidden = tests.length === 0;
  const rows = tests.map((test) => [
    rowName(test.id), test.needs.join(", "),
    ...(test.last
      ? [asTime(test.last.finished), shortCommit(test.last.commit), test.last.session]
      : ["never", "", ""]),
  ]);
  byId("unproven").append(makeTable([["Test"], ["Needs"], ["Last proved, UTC"], ["Commit"], ["Session"]], rows));
};

/** The tests that failed as the table says: none of them proves anything by it. */
const showKnownFailures = () => {
  const tests = matrix.known_failures ?? [];
  byId("known").hidden = tests.length === 0;
  const rows = tests.map((test) => [rowName(test.id), test.reason, test.sessions.join(", ")]);
  byId("known-failures").append(makeTable([["Test"], ["Reason"], ["Sessions"]], rows));
};
