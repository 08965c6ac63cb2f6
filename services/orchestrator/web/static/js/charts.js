// Line charts as SVG, each with its numbers as a table. Series differ by dash and mark, not by colour alone.

import { h, s } from "./dom.js";
import { table } from "./components.js";

const WIDTH = 640;
const HEIGHT = 260;
const LEFT = 58;
const RIGHT = 140;
const TOP = 14;
const BOTTOM = 40;
const COLOURS = 8;
const DASHES = ["", "7 3", "2 3", "9 3 2 3", "4 4", "12 4", "1 4", "6 2 1 2"];

/** About `count` round numbers from low to high. */
export function ticks(low, high, count = 5) {
  const span = high - low || Math.abs(high) || 1;
  const raw = span / count;
  const power = 10 ** Math.floor(Math.log10(raw));
  const step = [1, 2, 5, 10].map((factor) => factor * power).find((one) => one >= raw);
  const found = [];
  for (let value = Math.ceil(low / step - 1e-9) * step; value <= high + step * 1e-6; value += step) found.push(Number(value.toPrecision(10)));
  return found;
}

/** A chart.
 *
 * `series`: [{name, points: [[x, y, low?, high?]]}]; `band`: {low, high, name} across the whole; `marks`: [{x, name}].
 * `x`, `y`: {label, show(value), whole?: ticks at whole numbers, labels?: {x: text}}.
 */
export function lineChart({ title, series, x, y, band = null, marks = [], open = false }) {
  const drawn = series.filter((one) => one.points.length);
  if (!drawn.length) return h("p", { class: "empty" }, "No numbers yet.");
  const points = drawn.flatMap((one) => one.points);
  const xs = points.map((point) => point[0]);
  const ys = points.flatMap((point) => [point[1], point[2], point[3]]).concat(band ? [band.low, band.high] : []).filter((value) => Number.isFinite(value));
  const [xLow, xHigh] = range(xs, 0);
  const [yLow, yHigh] = range(ys, 0.08);
  const toX = (value) => LEFT + ((value - xLow) / (xHigh - xLow)) * (WIDTH - LEFT - RIGHT);
  const toY = (value) => HEIGHT - BOTTOM - ((value - yLow) / (yHigh - yLow)) * (HEIGHT - TOP - BOTTOM);
  const xTicks = (x.whole ? [...new Set(ticks(xLow, xHigh, 6).map(Math.round))].filter((value) => value >= xLow && value <= xHigh) : ticks(xLow, xHigh, 5));
  const image = s("svg", { viewBox: `0 0 ${WIDTH} ${HEIGHT}`, role: "img", "aria-label": `${title}. ${spoken(drawn, y)}`, class: "chart" },
    band && s("rect", { class: "band", x: LEFT, width: WIDTH - LEFT - RIGHT, y: toY(band.high), height: Math.max(1, toY(band.low) - toY(band.high)) }),
    ticks(yLow, yHigh).map((value) => [
      s("line", { class: "grid", x1: LEFT, x2: WIDTH - RIGHT, y1: toY(value), y2: toY(value) }),
      s("text", { class: "tick", x: LEFT - 6, y: toY(value) + 4, "text-anchor": "end" }, y.show(value))]),
    xTicks.map((value) => s("text", { class: "tick", x: toX(value), y: HEIGHT - BOTTOM + 16, "text-anchor": "middle" }, (x.show ?? String)(value))),
    s("line", { class: "axis", x1: LEFT, x2: WIDTH - RIGHT, y1: HEIGHT - BOTTOM, y2: HEIGHT - BOTTOM }),
    s("text", { class: "label", x: LEFT, y: HEIGHT - 6 }, x.label),
    s("text", { class: "label", x: 4, y: 10 }, y.label),
    marks.map((mark) => s("g", null,
      s("line", { class: "mark", x1: toX(mark.x), x2: toX(mark.x), y1: TOP, y2: HEIGHT - BOTTOM }),
      s("text", { class: "tick", x: toX(mark.x) + 3, y: TOP + 8 }, mark.name))),
    drawn.map((one, place) => line(one, place, toX, toY)),
    endLabels(drawn, toY));
  return h("figure", { class: "figure" },
    h("div", { class: "chart-box" }, image),
    h("figcaption", null, title, band ? ` The band is ${band.name}.` : null),
    h("details", { open }, h("summary", null, "As a table"), asTable(title, drawn, x, y)));
}

function range(values, room) {
  let low = values.reduce((one, other) => Math.min(one, other), Infinity);
  let high = values.reduce((one, other) => Math.max(one, other), -Infinity);
  if (low === high) [low, high] = room ? [low - (Math.abs(low) || 1) * 0.1, high + (Math.abs(high) || 1) * 0.1] : [low, low + 1];
  const more = (high - low) * room;
  return [low - more, high + more];
}

function line(one, place, toX, toY) {
  const at = one.points.map(([px, py]) => `${toX(px).toFixed(1)},${toY(py).toFixed(1)}`);
  const few = one.points.length <= 60;
  return s("g", { class: `series c${place % COLOURS}` },
    one.points.map(([px, , low, high]) => (Number.isFinite(low) && Number.isFinite(high)
      ? s("line", { class: "whisker", x1: toX(px), x2: toX(px), y1: toY(low), y2: toY(high) }) : null)),
    at.length > 1 && s("polyline", { points: at.join(" "), "stroke-dasharray": DASHES[place % DASHES.length] || null }),
    few && one.points.map(([px, py]) => dot(place, toX(px), toY(py))));
}

function dot(place, cx, cy) {
  switch (place % 4) {
    case 0: return s("circle", { class: "dot", cx, cy, r: 3 });
    case 1: return s("rect", { class: "dot", x: cx - 3, y: cy - 3, width: 6, height: 6 });
    case 2: return s("path", { class: "dot", d: `M${cx} ${cy - 4}l4 7h-8z` });
    default: return s("path", { class: "dot", d: `M${cx} ${cy - 4}l4 4-4 4-4-4z` });
  }
}

// Names at the right end of the lines, moved apart where they would lie on each other.
function endLabels(drawn, toY) {
  const labels = drawn.map((one, place) => ({ name: one.name, place, y: toY(one.points.at(-1)[1]) })).sort((a, b) => a.y - b.y);
  const gap = Math.min(13, (HEIGHT - TOP - BOTTOM) / labels.length);
  labels.forEach((label, index) => { label.y = Math.max(label.y, TOP + 4, index ? labels[index - 1].y + gap : 0); });
  const over = labels.at(-1).y - (HEIGHT - BOTTOM);
  if (over > 0) for (const label of labels) label.y -= over;
  return labels.map((label) => s("g", { class: `series c${label.place % COLOURS}` },
    dot(label.place, WIDTH - RIGHT + 10, label.y - 3),
    s("text", { class: "name", x: WIDTH - RIGHT + 18, y: label.y + 1 }, label.name.length > 19 ? `${label.name.slice(0, 18)}…` : label.name)));
}

function spoken(drawn, y) {
  return drawn.slice(0, 8).map((one) => {
    const [begin, end] = [one.points[0][1], one.points.at(-1)[1]];
    return `${one.name}: from ${y.show(begin)} to ${y.show(end)}`;
  }).join("; ");
}

const MOST_ROWS = 200;

function asTable(title, drawn, x, y) {
  const maps = drawn.map((one) => new Map(one.points.map((point) => [point[0], point])));
  const rows = [...new Set(drawn.flatMap((one) => one.points.map(([px]) => px)))].sort((a, b) => a - b).slice(-MOST_ROWS);
  const cell = (point) => (point ? y.show(point[1]) + (Number.isFinite(point[2]) ? ` [${y.show(point[2])}, ${y.show(point[3])}]` : "") : "–");
  return table(`${title}, as numbers`, [
    { title: x.label, cell: (value) => (x.show ?? String)(value), header: true },
    ...drawn.map((one, place) => ({ title: one.name, number: true, cell: (value) => cell(maps[place].get(value)) })),
  ], rows);
}
