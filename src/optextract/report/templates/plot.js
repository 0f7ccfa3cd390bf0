"use strict";
// Small plots on canvas: an axis always has a name and a unit.
const COLOURS = ["#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9"];
const INK = "#1b1f24", QUIET = "#8a929a", OTHER = "#CC3311", FONT = "11px system-ui, 'DejaVu Sans', sans-serif";

function unpack(code) {
  if (code === null) return null;
  const text = atob(code.data), bytes = new Uint8Array(text.length);
  for (let i = 0; i < text.length; i++) bytes[i] = text.charCodeAt(i);
  const numbers = new DataView(bytes.buffer), values = new Array(bytes.length / 2);
  for (let i = 0; i < values.length; i++) {
    const n = numbers.getInt16(2 * i, true);
    values[i] = n === -32768 ? null : code.low + code.step * (n + 32767);
  }
  return values;
}

function finite(values) { return values.filter(v => v !== null && Number.isFinite(v)); }
function extent(values) {
  let low = Infinity, high = -Infinity;
  for (const v of values) if (v !== null && Number.isFinite(v)) { if (v < low) low = v; if (v > high) high = v; }
  return low <= high ? [low, high] : [0, 1];
}
function quantile(values, q) {
  const sorted = finite(values).sort((a, b) => a - b);
  return sorted.length ? sorted[Math.min(sorted.length - 1, Math.max(0, Math.round(q * (sorted.length - 1))))] : 0;
}
function padded(range, part) {
  const width = range[1] - range[0] || Math.abs(range[0]) || 1;
  return [range[0] - part * width, range[1] + part * width];
}

function ticks(low, high, most) {
  const raw = (high - low) / Math.max(most, 1), power = 10 ** Math.floor(Math.log10(raw));
  const step = [1, 2, 5, 10].map(f => f * power).find(s => s >= raw) || 10 * power;
  const found = [];
  for (let k = Math.ceil(low / step - 1e-9); k * step <= high + 1e-9 * step; k++) found.push(k * step);
  const digits = Math.max(0, -Math.floor(Math.log10(step) + 1e-9));
  const big = Math.max(Math.abs(low), Math.abs(high));
  return found.map(v => [v, big >= 1e5 || digits > 4 ? v.toExponential(1) : v.toFixed(digits)]);
}
function logTicks(low, high) {
  const found = [];
  for (let p = Math.floor(low); p <= Math.ceil(high); p++)
    for (const f of [1, 3]) {
      const v = Math.log10(f) + p;
      if (v >= low - 1e-9 && v <= high + 1e-9) found.push([v, p < 4 && p > -3 ? String(Number((f * 10 ** p).toPrecision(1))) : f + "e" + p]);
    }
  return found;
}

// Returns a drawing area with axes; x(v), y(v) map values to pixels.
function axes(canvas, height, xlim, ylim, options) {
  const ratio = window.devicePixelRatio || 1, width = canvas.parentElement.clientWidth;
  canvas.style.height = height + "px";
  canvas.width = Math.round(width * ratio); canvas.height = Math.round(height * ratio);
  const ctx = canvas.getContext("2d");
  ctx.scale(ratio, ratio);
  ctx.font = FONT;
  const yticks = options.ylog ? logTicks(...ylim) : ticks(ylim[0], ylim[1], height / 40);
  const left = 24 + Math.max(...yticks.map(t => ctx.measureText(t[1]).width), 8);
  const box = { left, right: width - 14, top: options.title ? 20 : 8, bottom: height - 34 };
  const x = v => box.left + (v - xlim[0]) / (xlim[1] - xlim[0]) * (box.right - box.left);
  const y = v => box.bottom - (v - ylim[0]) / (ylim[1] - ylim[0]) * (box.bottom - box.top);
  const plot = { ctx, box, x, y, width, height };
  plot.frame = () => {
    ctx.strokeStyle = INK; ctx.fillStyle = INK; ctx.lineWidth = 1;
    ctx.strokeRect(box.left, box.top, box.right - box.left, box.bottom - box.top);
    ctx.textAlign = "center"; ctx.textBaseline = "top";
    const xticks = options.xlog ? logTicks(...xlim) : ticks(xlim[0], xlim[1], (box.right - box.left) / 65);
    let last = -Infinity;
    for (const [v, text] of xticks) {
      ctx.beginPath(); ctx.moveTo(x(v), box.bottom); ctx.lineTo(x(v), box.bottom + 3); ctx.stroke();
      const half = ctx.measureText(text).width / 2;
      if (x(v) - half > last + 4 && x(v) + half <= width) { ctx.fillText(text, x(v), box.bottom + 5); last = x(v) + half; }
    }
    ctx.fillText(options.xlabel, (box.left + box.right) / 2, height - 14);
    ctx.textAlign = "right"; ctx.textBaseline = "middle";
    for (const [v, text] of yticks) {
      ctx.beginPath(); ctx.moveTo(box.left - 3, y(v)); ctx.lineTo(box.left, y(v)); ctx.stroke();
      ctx.fillText(text, box.left - 5, y(v));
    }
    ctx.save(); ctx.translate(9, (box.top + box.bottom) / 2); ctx.rotate(-Math.PI / 2); ctx.textAlign = "center";
    ctx.fillText(options.ylabel, 0, 0); ctx.restore();
    if (options.title) { ctx.textAlign = "left"; ctx.textBaseline = "top"; ctx.fillText(options.title, box.left, 3); }
  };
  plot.clip = draw => {
    ctx.save(); ctx.beginPath(); ctx.rect(box.left, box.top, box.right - box.left, box.bottom - box.top); ctx.clip();
    draw(); ctx.restore();
  };
  plot.line = (xs, ys, colour, options = {}) => {
    ctx.strokeStyle = colour; ctx.lineWidth = options.width || 1; ctx.setLineDash(options.dash || []);
    ctx.beginPath();
    let pen = false;
    for (let i = 0; i < xs.length; i++) {
      if (ys[i] === null || xs[i] === null) { pen = false; continue; }
      if (pen) ctx.lineTo(x(xs[i]), y(ys[i])); else ctx.moveTo(x(xs[i]), y(ys[i]));
      pen = true;
    }
    ctx.stroke(); ctx.setLineDash([]);
  };
  plot.band = (xs, ys, errors, colour) => {
    ctx.fillStyle = colour; ctx.globalAlpha = 0.3;
    for (let i = 0; i + 1 < xs.length; i++) {
      if ([xs[i], xs[i + 1], ys[i], ys[i + 1], errors[i], errors[i + 1]].includes(null)) continue;
      ctx.beginPath();
      ctx.moveTo(x(xs[i]), y(ys[i] - errors[i])); ctx.lineTo(x(xs[i]), y(ys[i] + errors[i]));
      ctx.lineTo(x(xs[i + 1]), y(ys[i + 1] + errors[i + 1])); ctx.lineTo(x(xs[i + 1]), y(ys[i + 1] - errors[i + 1]));
      ctx.fill();
    }
    ctx.globalAlpha = 1;
  };
  plot.points = (xs, ys, colour, size) => {
    ctx.fillStyle = colour;
    for (let i = 0; i < xs.length; i++) {
      if (ys[i] === null || xs[i] === null) continue;
      ctx.beginPath(); ctx.arc(x(xs[i]), y(ys[i]), size, 0, 7); ctx.fill();
    }
  };
  // names of what is drawn, from the upper left corner, on as many lines as they need
  plot.legend = entries => {
    ctx.textAlign = "left"; ctx.textBaseline = "middle";
    let at = box.left + 6, row = box.top + 10;
    for (const [text, colour, dash] of entries) {
      const room = 24 + ctx.measureText(text).width + 10;
      if (at + room > box.right && at > box.left + 6) { at = box.left + 6; row += 14; }
      ctx.strokeStyle = colour; ctx.lineWidth = 2; ctx.setLineDash(dash || []);
      ctx.beginPath(); ctx.moveTo(at, row); ctx.lineTo(at + 18, row); ctx.stroke(); ctx.setLineDash([]);
      ctx.fillStyle = INK; ctx.fillText(text, at + 22, row);
      at += room;
    }
  };
  return plot;
}

function unit(name, of) { return of ? name + " (" + of + ")" : name; }

function drawImage(canvas, card) {
  const [rows, columns] = card.shape, image = card.image;
  const plot = axes(canvas, Math.min(220, Math.max(130, 90 + 3 * rows)), [-0.5, columns - 0.5], [-0.5, rows - 0.5],
    { xlabel: "dispersion (pixel)", ylabel: "cross-dispersion (pixel)", title: "grey: " + image.low + " to " + image.high + (card.pixel_unit ? " " + card.pixel_unit : "") });
  const text = atob(image.data), small = document.createElement("canvas");
  small.width = image.columns; small.height = image.rows;
  const pixels = small.getContext("2d").createImageData(image.columns, image.rows);
  for (let row = 0; row < image.rows; row++)
    for (let column = 0; column < image.columns; column++) {
      const level = text.charCodeAt(row * image.columns + column), at = 4 * ((image.rows - 1 - row) * image.columns + column);
      const rgb = level === 255 ? [243, 230, 216] : [255 - level, 255 - level, 255 - level];
      pixels.data[at] = rgb[0]; pixels.data[at + 1] = rgb[1]; pixels.data[at + 2] = rgb[2]; pixels.data[at + 3] = 255;
    }
  small.getContext("2d").putImageData(pixels, 0, 0);
  const { ctx, box } = plot;
  ctx.imageSmoothingEnabled = false;
  ctx.drawImage(small, box.left, box.top, box.right - box.left, box.bottom - box.top);
  plot.clip(() => {
    card.sources.forEach((source, k) => {
      const colour = COLOURS[k % COLOURS.length];
      plot.line(card.columns, source.centre, colour, { width: 1.5 });
      plot.line(card.columns, source.lower, colour, { dash: [4, 3] });
      plot.line(card.columns, source.upper, colour, { dash: [4, 3] });
    });
    const region = card.region, cross = region.cross || [-0.5, rows - 0.5], disp = region.disp || [-0.5, columns - 0.5];
    if (region.polygon) plot.line(region.polygon.concat([region.polygon[0]]).map(p => p[0]), region.polygon.concat([region.polygon[0]]).map(p => p[1]), "#B8860B", { width: 1.5 });
    if (region.cross || region.disp)
      plot.line([disp[0], disp[1], disp[1], disp[0], disp[0]], [cross[0], cross[0], cross[1], cross[1], cross[0]], "#B8860B", { width: 1.5 });
  });
  plot.frame();
}

function drawKernel(canvas, card) {
  const k = card.kernel;
  const low = k.data.map((v, i) => v === null ? null : v - (k.error[i] || 0)), high = k.data.map((v, i) => v === null ? null : v + (k.error[i] || 0));
  const span = extent([...low, ...high, ...k.model]), room = (span[1] - span[0]) || 1;
  const rows = extent(k.rows);
  const plot = axes(canvas, 240, [rows[0] - 0.5, rows[1] + 0.5], [span[0] - 0.05 * room, span[1] + 0.22 * room],
    { xlabel: "cross-dispersion (pixel)", ylabel: unit("mean per column", k.unit), title: "kernel slice, columns " + k.columns[0] + " to " + k.columns[1] });
  plot.clip(() => {
    k.rows.forEach((row, i) => { if (low[i] !== null) plot.line([row, row], [low[i], high[i]], INK); });
    plot.points(k.rows, k.data, INK, 2.2);
    card.sources.forEach((source, n) => plot.line(k.rows, source.component, COLOURS[n % COLOURS.length], { dash: [4, 3] }));
    plot.line(k.rows, k.background, QUIET, { dash: [2, 2] });
    plot.line(k.rows, k.model, OTHER, { width: 1.6 });
  });
  plot.legend([["fit (" + card.profile + ")", OTHER], ["background", QUIET, [2, 2]]]);
  plot.frame();
}

function drawSpectrum(canvas, card) {
  const x = unpack(card.wavelength), sources = card.sources.map(s => ({ flux: unpack(s.flux), error: unpack(s.error), boxcar: unpack(s.boxcar), x1d: unpack(s.x1d) }));
  const typical = quantile(sources.flatMap(s => s.error), 0.5);
  const tame = sources.flatMap(s => s.flux.filter((f, i) => f !== null && (s.error[i] <= 5 * typical || f > 10 * s.error[i])));
  const top = Math.max(extent(tame)[1], 4 * typical), bottom = Math.min(quantile(tame, 0.01), -3 * typical), room = top - bottom || 1;
  const plot = axes(canvas, 240, extent(x), [bottom - 0.05 * room, top + 0.2 * room],
    { xlabel: card.wavelength_unit === "pix" ? "column (pixel)" : unit("wavelength", card.wavelength_unit), ylabel: unit("flux", card.flux_unit), title: card.per_point > 1.01 ? "mean of " + card.per_point + " columns a point" : "" });
  const names = [];
  plot.clip(() => {
    plot.line(extent(x), [0, 0], QUIET);
    sources.forEach(s => plot.line(x, s.boxcar, QUIET, { width: 0.7 }));
    sources.forEach(s => { if (s.x1d) plot.line(x, s.x1d, OTHER, { width: 0.8 }); });
    sources.forEach((s, k) => {
      const colour = COLOURS[k % COLOURS.length];
      plot.band(x, s.flux, s.error, colour);
      plot.line(x, s.flux, colour, { width: 1.1 });
      names.push([sources.length > 1 ? "source " + (k + 1) : "optimal ± 1σ", colour]);
    });
  });
  names.push(["boxcar", QUIET]);
  if (sources.some(s => s.x1d)) names.push(["x1d", OTHER]);
  plot.legend(names);
  plot.frame();
}
