// One monitor: what it is, what it found, and what can be done with it. Its lists and actions are those that the
// server describes below its address, so that none of them has to be known here.

import { call, operations } from "../api.js";
import { h } from "../dom.js";
import * as format from "../format.js";
import { badge, confirmDialog, field, head, part, section } from "../components.js";
import { lineChart } from "../charts.js";
import { rowsTable, seriesOf, tree } from "./generic.js";
import { nameOf, stateOf } from "./monitors.js";

const MOST_ROWS = 200;

export default async function monitorPage({ params, signal, again }) {
  const known = await operations();
  const base = known.get("getMonitor").path;
  const id = { [/\{(\w+)/.exec(base)[1]]: params.id };
  const answer = await call("getMonitor", id, { signal });
  const monitor = answer.monitor ?? answer;
  const below = [...known].filter(([, one]) => one.path.startsWith(`${base}/`));
  const actions = below.filter(([, one]) => one.method === "POST" && !one.path.slice(base.length).includes("{"));
  const lists = below.filter(([, one]) => one.method === "GET" && !one.path.slice(base.length).includes("{"));
  return [
    head(nameOf(monitor), { above: ["Monitor ", badge(stateOf(monitor))], actions: actions.map(([name, one]) => button(name, one, id, again)) }),
    lists.map(([name, one]) => section(one.summary, part(() => list(name, one, id, below, signal, again)))),
    section("Facts", tree(monitor)),
  ];
}

async function list(name, one, id, below, signal, again) {
  const found = await call(name, id, { search: { page_size: MOST_ROWS }, signal });
  const rows = Object.values(found).find(Array.isArray);
  if (!rows) return tree(found);
  const series = seriesOf(rows);
  const rowActions = below.filter(([, other]) => other.method === "POST" && other.path.startsWith(`${one.path}/{`));
  return [
    series.length ? lineChart({ title: "Value difference by topic", series, band: bandOf(found), x: { label: "Time", show: (at) => format.time(new Date(at).toISOString()).slice(5, 16) }, y: { label: "Value difference", show: (value) => value.toFixed(3) } }) : null,
    rowsTable(one.summary, rows, rowActions.length ? [{ title: "", cell: (row) => rowActions.map(([action, other]) => button(action, other, { ...id, ...row }, again)) }] : []),
  ];
}

// The baseline across the whole, where the server names one.
function bandOf(found) {
  const band = found.baseline ?? found.band;
  return band && Number.isFinite(band.low) && Number.isFinite(band.high) ? { low: band.low, high: band.high, name: "the baseline" } : null;
}

function button(name, operation, id, again) {
  return h("button", { type: "button", onclick: () => {
    const controls = operation.texts.map(([text, what, required]) => [text, what, h("textarea", { required })]);
    confirmDialog({
      title: operation.summary, label: operation.summary, says: [operation.description || operation.summary],
      fields: controls.map(([text, what, control]) => field(format.word(text), control, what)),
      run: () => call(name, id, { json: Object.fromEntries(controls.map(([text, , control]) => [text, control.value])) }), done: again, said: () => `${operation.summary}: done.`,
    });
  } }, `${operation.summary}…`);
}
