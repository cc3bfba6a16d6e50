"""What a browser is asked about a report's page, in JavaScript, and the options that it starts with."""

QUIET = ["--disable-gpu", "--disable-background-networking", "--disable-component-update", "--disable-sync"]
FOCUSED = "() => document.activeElement.innerText"
OVERFLOW = "() => document.documentElement.scrollWidth - window.innerWidth"

# What the grid shows, read from the page.
SHOWN_TESTS = """() => [...document.querySelectorAll("#grid tbody tr:not(.file)")]
    .filter((row) => row.checkVisibility()).map((row) => row.cells[0].innerText)"""
SHOWN_SESSIONS = """() => [...document.querySelectorAll("#grid thead tr:last-child th")]
    .filter((cell) => cell.checkVisibility()).map((cell) => cell.innerText).slice(1, -1)"""
CELLS = """() => Object.fromEntries([...document.querySelectorAll("#grid tr:not(.file):has(td)")].map((row) => [
    row.cells[0].textContent, [...row.cells].slice(1, -1).map((cell) => [cell.dataset.outcome, cell.innerText])]))"""
HIDDEN_HEIGHT = """() => {
    const { clientHeight, scrollHeight } = document.querySelector("#grid-box");
    return scrollHeight - clientHeight; }"""
# Every text with too little contrast, with both colours; a gradient counts with each of its colours.
POOR_CONTRAST = """
() => {
  const channels = (text) => text.match(/[\\d.]+/g).map(Number);
  const light = (channel) => (channel <= 10 ? channel / 3294.6 : ((channel / 255 + 0.055) / 1.055) ** 2.4);
  const luminance = ([r, g, b]) => 0.2126 * light(r) + 0.7152 * light(g) + 0.0722 * light(b);
  const ratio = (one, other) => {
    const [low, high] = [luminance(one), luminance(other)].sort((a, b) => a - b);
    return (high + 0.05) / (low + 0.05);
  };
  const backgrounds = (element) => {
    if (!element) return [[255, 255, 255]];
    const style = getComputedStyle(element);
    const colours = [style.backgroundColor, ...(style.backgroundImage.match(/rgba?\\([^)]*\\)/g) ?? [])]
      .map(channels);
    const painted = colours.filter((colour) => (colour[3] ?? 1) > 0);
    const covers = (channels(style.backgroundColor)[3] ?? 1) > 0;
    return covers ? painted : [...painted, ...backgrounds(element.parentElement)];
  };
  const poor = [];
  const judge = (element, colour, text) => {
    for (const background of backgrounds(element)) {
      if (ratio(channels(colour), background) < 4.5) poor.push(`${text}: ${colour} on ${background}`);
    }
  };
  for (const element of document.body.querySelectorAll("*")) {
    const text = [...element.childNodes].filter((node) => node.nodeType === 3).map((node) => node.data.trim()).join("");
    if (text && element.checkVisibility()) judge(element, getComputedStyle(element).color, text);
    if (element.placeholder) judge(element, getComputedStyle(element, "::placeholder").color, element.placeholder);
  }
  return poor;
}
"""
