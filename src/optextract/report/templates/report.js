const COLUMNS = JSON.parse(document.getElementById("columns").textContent);
const ROWS = JSON.parse(document.getElementById("rows").textContent);
const PAGE = 50, MINOR = new Set(["snr_total", "efficiency", "trace_rms", "masked_fraction", "lost_fraction", "n_rejected", "centre", "jump"]);
const STATUS = { done: "extracted", failed: "failed", rejected: "rejected" };
const state = { sort: null, up: false, page: 0, order: ROWS.map((_, i) => i) };
ROWS.forEach((row, i) => {
  row.number = i;
  row.text = [row.file, row.slit, row.source, row.status, ...row.flags, ...row.warnings].join(" ").toLowerCase();
  row.label = row.name + (row.slit ? " [" + row.slit + "]" : "");
});

function element(tag, text, classes) {
  const made = document.createElement(tag);
  // as text, never as HTML: names come from headers
  if (text !== undefined && text !== null) made.textContent = text;
  if (classes) made.className = classes;
  return made;
}
// nothing is minus zero
function shown(value, digits) { return value === null || value === undefined ? "" : value.toFixed(digits).replace(/^-(0(\.0*)?)$/, "$1"); }

const HEADINGS = [
  ["spectrum", "text name", r => r.label, r => r.label], ["source", "text minor", r => r.source, r => r.source],
  ["status", "text", r => r.status, r => r.decision || STATUS[r.status]], ["score", "", r => r.score, r => shown(r.score, 0)],
  ["why", "text flags", r => r.flags.length, r => r.flags.slice(0, 3).join("; ") + (r.flags.length > 3 ? "; …" : "")],
  ...COLUMNS.map(([key, title, digits, help], k) => [title, MINOR.has(key) ? "minor" : "", r => r.numbers[k], r => shown(r.numbers[k], digits), help]),
];

function head() {
  const row = element("tr");
  HEADINGS.forEach(([title, classes, , , help], k) => {
    const cell = element("th", title, classes);
    if (help) cell.title = help;
    cell.tabIndex = 0;
    const sort = () => { state.up = state.sort === k ? !state.up : classes.includes("text"); state.sort = k; state.page = 0; update(); };
    cell.addEventListener("click", sort);
    cell.addEventListener("keydown", e => { if (e.key === "Enter") sort(); });
    row.append(cell);
  });
  document.querySelector("#table thead").replaceChildren(row);
}

function chosen() {
  const words = document.getElementById("filter").value.toLowerCase().split(/\s+/).filter(Boolean);
  const status = document.getElementById("status").value;
  const rows = ROWS.filter(r => words.every(w => r.text.includes(w)) && (!status || (status === "look" ? r.status === "done" && r.flags.length > 0 : r.status === status)));
  if (state.sort === null) return rows;
  const key = HEADINGS[state.sort][2], sign = state.up ? 1 : -1;
  const missing = v => v === null || v === undefined;
  return rows.slice().sort((a, b) => {
    const p = key(a), q = key(b);
    if (missing(p) || missing(q)) return missing(p) - missing(q);
    return sign * (typeof p === "string" ? p.localeCompare(q, undefined, { numeric: true }) : p - q) || a.number - b.number;
  });
}

function update() {
  const rows = chosen(), pages = Math.max(1, Math.ceil(rows.length / PAGE));
  state.page = Math.min(Math.max(state.page, 0), pages - 1);
  const part = rows.slice(state.page * PAGE, (state.page + 1) * PAGE);
  document.getElementById("shown").textContent = rows.length + " of " + ROWS.length + " spectra";
  for (const id of ["page", "page2"]) document.getElementById(id).textContent = "page " + (state.page + 1) + " of " + pages;
  for (const id of ["previous", "previous2"]) document.getElementById(id).disabled = state.page === 0;
  for (const id of ["next", "next2"]) document.getElementById(id).disabled = state.page === pages - 1;
  document.querySelectorAll("#table th").forEach((cell, k) => { cell.classList.toggle("sorted", state.sort === k); cell.classList.toggle("up", state.sort === k && state.up); });
  const body = document.createDocumentFragment(), cards = document.createDocumentFragment();
  for (const row of part) {
    const line = element("tr");
    for (const [title, classes, , text] of HEADINGS) {
      const cell = element("td", text(row), classes);
      if (title === "status" && row.status === "failed") cell.classList.add("bad");
      if (title === "why" && row.flags.length) cell.classList.add(row.status === "failed" ? "bad" : "warn");
      if (title === "spectrum") cell.title = row.file;
      line.append(cell);
    }
    line.addEventListener("click", () => document.getElementById("c" + row.number).scrollIntoView({ behavior: "smooth" }));
    body.append(line);
    cards.append(makeCard(row));
  }
  document.querySelector("#table tbody").replaceChildren(body);
  document.getElementById("cards").replaceChildren(cards);
  document.querySelectorAll("#cards .card").forEach(card => watcher.observe(card));
}

function makeCard(row) {
  const card = element("article", null, "card");
  card.id = "c" + row.number;
  card.dataset.number = row.number;
  card.append(element("h3", row.label));
  const about = element("p", null, "quiet");
  about.append([row.source, row.decision || STATUS[row.status], row.score === null ? "" : "score " + row.score.toFixed(0), row.n_source > 1 ? row.n_source + " sources" : ""].filter(Boolean).join(" · "));
  if (row.product) { const link = element("a", "spectrum"); link.href = row.product; about.append(" · ", link); }
  card.append(about);
  const said = [...row.flags, ...row.warnings, ...row.compared];
  if (said.length) { const list = element("ul"); said.forEach((text, k) => list.append(element("li", text, k < row.flags.length ? (row.status === "failed" ? "bad" : "warn") : ""))); card.append(list); }
  const numbers = element("p", null, "numbers");
  COLUMNS.forEach(([, title, digits, help], k) => {
    if (row.numbers[k] === null) return;
    const entry = element("span", title + " "); entry.title = help; entry.append(element("b", shown(row.numbers[k], digits))); numbers.append(entry);
  });
  card.append(numbers);
  const data = document.getElementById("card-" + row.number);
  if (data) {
    const panels = element("div", null, "panels");
    for (const name of ["image", "kernel", "spectrum"]) {
      const figure = element("figure", null, name), canvas = element("canvas");
      canvas.style.height = name === "image" ? "190px" : "240px";
      canvas.setAttribute("role", "img"); canvas.setAttribute("aria-label", name + " of " + row.label);
      figure.append(canvas); panels.append(figure);
    }
    card.append(panels);
  }
  return card;
}

// a card is unpacked and drawn when it comes near the window, so that thousands of them cost nothing
function drawCard(card) {
  const data = document.getElementById("card-" + card.dataset.number);
  if (!data) return;
  const content = JSON.parse(data.textContent), [image, kernel, spectrum] = card.querySelectorAll("canvas");
  drawImage(image, content); drawKernel(kernel, content); drawSpectrum(spectrum, content);
  card.dataset.drawn = card.clientWidth;
}
const watcher = new IntersectionObserver(entries => {
  for (const entry of entries) if (entry.isIntersecting) { watcher.unobserve(entry.target); drawCard(entry.target); }
}, { rootMargin: "400px" });

function scatter(id, key, ylabel, line, ylog) {
  const k = COLUMNS.findIndex(c => c[0] === key), s = COLUMNS.findIndex(c => c[0] === "snr_median");
  const rows = ROWS.filter(r => r.numbers[k] !== null && r.numbers[s] > 0 && (!ylog || r.numbers[k] > 0));
  const x = rows.map(r => Math.log10(r.numbers[s])), raw = rows.map(r => r.numbers[k]), y = ylog ? raw.map(Math.log10) : raw;
  const span = extent(y.length ? [...y, ylog ? Math.log10(line) : line] : [line - 1, line + 1]);
  const low = Math.max(span[0], quantile(y, 0.02) - 2 * (quantile(y, 0.9) - quantile(y, 0.1) + 0.05)), high = Math.min(span[1], quantile(y, 0.98) + 2 * (quantile(y, 0.9) - quantile(y, 0.1) + 0.05));
  const ylim = padded([Math.min(low, ylog ? Math.log10(line) : line), Math.max(high, ylog ? Math.log10(line) : line)], 0.1);
  const plot = axes(document.getElementById(id), 220, padded(extent(x), 0.05), ylim, { xlabel: "median S/N per column", ylabel, xlog: true, ylog });
  plot.clip(() => {
    plot.line(padded(extent(x), 0.05), [ylog ? Math.log10(line) : line, ylog ? Math.log10(line) : line], QUIET);
    // what lies outside is shown at the edge
    const kept = y.map(v => Math.min(Math.max(v, ylim[0]), ylim[1]));
    rows.forEach((r, i) => plot.points([x[i]], [kept[i]], r.flags.length ? COLOURS[1] : COLOURS[0], 2.4));
  });
  plot.frame();
}

function histogram() {
  const counts = new Array(20).fill(0);
  ROWS.forEach(r => { if (r.score !== null) counts[Math.min(19, Math.floor(r.score / 5))]++; });
  const plot = axes(document.getElementById("plot-score"), 220, [0, 100], [0, 1.1 * Math.max(1, ...counts)], { xlabel: "score (0: nothing speaks against it)", ylabel: "number of spectra" });
  plot.clip(() => counts.forEach((n, k) => {
    plot.ctx.fillStyle = k < 1 ? COLOURS[0] : k < 19 ? COLOURS[1] : OTHER;
    plot.ctx.fillRect(plot.x(5 * k) + 1, plot.y(n), plot.x(5) - plot.x(0) - 2, plot.y(0) - plot.y(n));
  }));
  plot.frame();
}

function overview() {
  histogram();
  scatter("plot-pull", "pull", "source-free pull", 1);
  scatter("plot-width", "fwhm", "FWHM (pixel)", quantile(ROWS.map(r => r.numbers[COLUMNS.findIndex(c => c[0] === "fwhm")]), 0.5));
  scatter("plot-ratio", "optimal_over_boxcar", "optimal / boxcar flux", 1);
}

for (const [id, step] of [["previous", -1], ["previous2", -1], ["next", 1], ["next2", 1]])
  document.getElementById(id).addEventListener("click", () => { state.page += step; update(); });
document.getElementById("filter").addEventListener("input", () => { state.page = 0; update(); });
document.getElementById("status").addEventListener("change", () => { state.page = 0; update(); });
let waiting = 0;
window.addEventListener("resize", () => {
  clearTimeout(waiting);
  waiting = setTimeout(() => {
    overview();
    document.querySelectorAll("#cards .card").forEach(card => { if (card.dataset.drawn && Number(card.dataset.drawn) !== card.clientWidth) drawCard(card); });
  }, 150);
});
// on paper nothing comes near a window
window.addEventListener("beforeprint", () => document.querySelectorAll("#cards .card").forEach(card => { if (!card.dataset.drawn) { watcher.unobserve(card); drawCard(card); } }));
head(); update(); overview();
