// The details of a cell: shown on hover and on focus, kept open by a click or Enter, closed by Esc.

const details = byId("details");
let pinned = false;
let shownFor = null;
// True while the focus returns to a cell whose details have just been closed.
let comingBack = false;

const factsOf = ({ test, session, cell }) => {
  if (!session) return [["Needs", (test.requires ?? []).join(", ") || "nothing"]];
  const facts = [["Session", `${session.name} (${environmentOf(session)})`]];
  if (!cell) return [...facts, ["Outcome", "not collected in this session"]];
  facts.push(["Outcome", `${SIGNS[cell.outcome]} ${cell.outcome}`], ["Time", `${(cell.seconds ?? 0).toFixed(3)} s`]);
  if (cell.reason) facts.push(["Reason", cell.reason]);
  if (cell.message) facts.push(["Message", cell.message]);
  if (cell.violation) facts.push(["Violation", cell.violation]);
  for (const trace of cell.traces ?? []) {
    const how = `${count(trace.tokens, "token")} in ${trace.seconds.toFixed(2)} s`;
    facts.push(["Inference", `${how}, model ${trace.model.slice(0, 12)}`]);
  }
  return facts;
};

/** Place the details below the cell, or above it if there is no room; on a phone they are at the bottom (CSS). */
const placeDetails = (anchor) => {
  const cell = anchor.getBoundingClientRect();
  const left = Math.min(cell.left, window.innerWidth - details.offsetWidth - 8);
  const below = cell.bottom + 2;
  const above = Math.max(4, cell.top - details.offsetHeight - 2);
  const fits = below + details.offsetHeight <= window.innerHeight;
  details.style.setProperty("--left", `${Math.max(4, left)}px`);
  details.style.setProperty("--top", `${fits ? below : above}px`);
};

const showDetails = (anchor, subject) => {
  hideDetails();
  shownFor = anchor;
  const facts = factsOf(subject).flatMap(([name, value]) => [make("dt", {}, name), make("dd", {}, value)]);
  details.append(make("div", { class: "id" }, subject.test.id), make("dl", {}, ...facts));
  details.hidden = false;
  anchor.setAttribute("aria-describedby", "details");
  placeDetails(anchor);
};

const hideDetails = () => {
  shownFor?.removeAttribute("aria-describedby");
  shownFor = null;
  pinned = false;
  details.hidden = true;
  details.replaceChildren();
};

/** Keep the details open, so that they can be read, scrolled and copied from. */
const pinDetails = (anchor, subject) => {
  showDetails(anchor, subject);
  pinned = true;
  const close = make("button", { type: "button" }, "Close");
  close.addEventListener("click", closeDetails);
  details.prepend(close);
  placeDetails(anchor);
};

/** Close the details, and return to the cell if the focus was inside. */
const closeDetails = () => {
  const anchor = shownFor;
  const inside = details.contains(document.activeElement);
  hideDetails();
  comingBack = true;
  if (inside) anchor.focus();
  comingBack = false;
};
