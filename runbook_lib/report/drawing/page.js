// Sorts and filters tables, and says which of them are wider than the page. Without it the page is complete.
"use strict";
const ROWS_TO_SORT = 5, ROWS_TO_FILTER = 12;

function worth(cell) {
  const marked = cell && cell.querySelector("[data-sort]");
  if (marked) return Number(marked.dataset.sort);
  const text = cell ? cell.textContent.trim() : "";
  if (text === "·") return 0;
  if (text === "–" || text === "") return null;
  const found = /^[≈<+$✗\s]*(-?[\d,]+(?:\.\d+)?)\s*%?$/.exec(text);
  return found ? Number(found[1].replaceAll(",", "")) : text;
}

function order(a, b) {
  if (a === null || b === null) return (a === null) - (b === null);
  if (typeof a === "number" && typeof b === "number") return a - b;
  return String(a).localeCompare(String(b), "en", {numeric: true});
}

function sort(table, head, at) {
  const down = head.getAttribute("aria-sort") === "ascending";
  for (const other of table.tHead.rows[0].cells) other.removeAttribute("aria-sort");
  head.setAttribute("aria-sort", down ? "descending" : "ascending");
  const body = table.tBodies[0];
  const rows = [...body.rows].map(row => [worth(row.cells[at]), row]);
  rows.sort((a, b) => a[0] === null || b[0] === null ? order(a[0], b[0]) : down ? order(b[0], a[0]) : order(a[0], b[0]));
  body.append(...rows.map(pair => pair[1]));
}

function sortable(table) {
  for (const [at, head] of [...table.tHead.rows[0].cells].entries()) {
    const button = document.createElement("button");
    button.type = "button";
    button.append(...head.childNodes);
    button.addEventListener("click", () => sort(table, head, at));
    head.append(button);
  }
}

function filterable(rows, before, words, of) {
  const line = document.createElement("div"), field = document.createElement("input"), said = document.createElement("span");
  line.className = "filter";
  field.type = "search";
  field.placeholder = words;
  field.setAttribute("aria-label", of ? `${words}: ${of}` : words);
  said.setAttribute("role", "status");
  field.addEventListener("input", () => {
    const words = field.value.toLowerCase().split(/\s+/);
    let left = 0;
    for (const row of rows) {
      const text = row.textContent.toLowerCase();
      row.hidden = !words.every(word => text.includes(word));
      left += !row.hidden;
    }
    said.textContent = field.value.trim() ? `${left} of ${rows.length} shown` : "";
  });
  line.append(field, said);
  before.before(line);
}

for (const place of document.querySelectorAll("[data-filter]"))
  filterable([...document.querySelectorAll("tbody tr")], place, place.dataset.filter);
const boxes = document.querySelectorAll(".rb-box");
for (const box of boxes) {
  const table = box.querySelector("table"), count = table.tHead ? table.tBodies[0].rows.length : 0;
  if (count >= ROWS_TO_SORT) sortable(table);
  if (count > ROWS_TO_FILTER) filterable([...table.tBodies[0].rows], box, "Filter rows", table.getAttribute("aria-label") || "table");
}

// Reads all, then writes all: the page is laid out twice, however many tables it has.
function fit() {
  const seen = [...boxes].filter(box => box.clientWidth); // the others are folded
  for (const box of seen) box.classList.remove("fits");
  for (const [box, wide] of seen.map(box => [box, box.scrollWidth > box.clientWidth + 1])) {
    box.classList.toggle("fits", !wide);
    let hint = box.previousElementSibling;
    hint = hint && hint.classList.contains("hint") ? hint : null;
    if (wide && !hint) {
      hint = document.createElement("p");
      hint.className = "hint";
      hint.textContent = "Scroll sideways for more columns →";
      box.before(hint);
    } else if (!wide && hint) hint.remove();
    if (wide) box.tabIndex = 0;
    else box.removeAttribute("tabindex");
  }
}
let next = 0;
function fitSoon() { // once, however many unfold together
  cancelAnimationFrame(next);
  next = requestAnimationFrame(fit);
}
fit();
addEventListener("resize", fitSoon);
document.addEventListener("toggle", fitSoon, true);

const contents = document.querySelector(".contents details"), beside = matchMedia("(min-width: 1100px)");
if (contents) {
  const follow = () => { contents.open = beside.matches; };
  follow();
  beside.addEventListener("change", follow);
}

let closed = [];
addEventListener("beforeprint", () => {
  closed = [...document.querySelectorAll("main details:not([open])")];
  for (const one of closed) one.open = true;
});
addEventListener("afterprint", () => { for (const one of closed) one.open = false; });
