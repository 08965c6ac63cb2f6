// One monitor: what it found over time, its alarms, what people ask, and what can be done with it.

import { call } from "../api.js";
import { h, put } from "../dom.js";
import * as format from "../format.js";
import { action, badge, code, confirmDialog, exact, facts, field, head, link, paged, part, section, stamp, table } from "../components.js";
import { lineChart } from "../charts.js";
import { tree } from "./generic.js";

const MOST_ROWS = 200;

export default async function monitorPage({ params, signal, again }) {
  const id = { monitor_id: params.id };
  const monitor = await call("getMonitor", id, { signal });
  const live = monitor.document.live;
  return [
    head(monitor.name, { above: ["Monitor ", badge(monitor.state)], below: monitor.document.description, actions: actions(monitor, id, again) }),
    section("Value difference over time", part(() => history(id, signal))),
    section("Alarms", part(() => alarms(id, signal, again))),
    live ? section("What people ask", liveFacts(monitor), samples(id, signal)) : null,
    section("Facts", facts([
      ["Id", code(monitor.monitor_id)],
      ["Watches", monitor.route ? link(`#/routes`, monitor.route) : monitor.endpoint],
      ["Schedule", [code(monitor.schedule), ` ${monitor.time_zone}`]],
      ["Next measurement", exact(monitor.next_time)],
      ["Baseline", monitor.baseline_number ? `measurement ${monitor.baseline_number}` : "none yet"],
      ["Last success", exact(monitor.last_success_time)],
      monitor.last_error ? ["Last error", `${monitor.last_error} (${monitor.failures} in a row)`] : null,
      ["Made", [exact(monitor.create_time), ` by ${monitor.create_by}`]],
    ].filter(Boolean))),
    section("Document", h("details", null, h("summary", null, "Sets, samples and alarms"), tree(monitor.document))),
  ];
}

function actions(monitor, id, again) {
  const does = (label, says, operation, said, scope = "run") => action(`${label}…`, { scope, onclick: () => confirmDialog({ title: label, label, says: [says], run: () => call(operation, id), done: again, said: () => said }) });
  return [
    does("Measure now", "It asks what it watches, whether its time has come or not.", "measureMonitor", "The measurement waits."),
    monitor.state === "paused"
      ? does("Resume", "It measures again at the schedule's next moment.", "resumeMonitor", "It measures on schedule again.")
      : does("Pause", "It measures no more on schedule until it is resumed.", "pauseMonitor", "It is paused."),
  ];
}

async function history(id, signal) {
  const { measurements } = await call("listMeasurements", id, { search: { page_size: MOST_ROWS }, signal });
  const ended = measurements.filter((one) => one.state === "succeeded").reverse();
  const topics = [...new Set(ended.flatMap((one) => Object.keys(one.by_topic)))].sort();
  const series = topics.map((topic) => ({
    name: topic,
    points: ended.filter((one) => one.by_topic[topic]).map((one) => [Date.parse(one.end_time), one.by_topic[topic].value]),
  }));
  return [
    lineChart({ title: "Value difference by topic", series, x: { label: "Time", show: (at) => format.time(new Date(at).toISOString()).slice(5, 16) }, y: { label: "Value difference", show: (value) => value.toFixed(3) } }),
    table("Measurements, newest first", [
      { title: "Number", header: true, cell: (one) => one.number },
      { title: "Why", cell: (one) => one.kind },
      { title: "Ended", cell: (one) => stamp(one.end_time) },
      { title: "Outcome", cell: (one) => badge(one.outcome || one.state) },
      { title: "p", number: true, cell: (one) => format.number(one.p_value) },
      { title: "Answered by", cell: (one) => one.adapters.map((who) => who.name || "the base model").join(", ") || "–" },
      { title: "In words", cell: (one) => [one.message, one.live ? h("div", { class: "small muted" }, one.live.message) : null] },
    ], measurements, { empty: "It has not measured yet." }),
  ];
}

async function alarms(id, signal, again) {
  const found = await call("listMonitorAlarms", id, { search: { page_size: MOST_ROWS }, signal });
  return table("Alarms, newest first", [
    { title: "Number", header: true, cell: (one) => one.number },
    { title: "About", cell: (one) => one.kind },
    { title: "State", cell: (one) => [badge(one.state), one.comment ? h("div", { class: "small muted" }, `${one.acknowledge_by}: ${one.comment}`) : null] },
    { title: "Raised", cell: (one) => stamp(one.raise_time) },
    { title: "What moved", cell: (one) => one.topics.join(", ") || "–" },
    { title: "In words", cell: (one) => [one.message, one.run_id ? [" ", link(`#/runs/${one.run_id}`, one.run_id)] : one.run_error ? h("div", { class: "small muted" }, one.run_error) : null] },
    { title: "", cell: (one) => (one.state === "raised" ? acknowledge(one, id, again) : null) },
  ], found.alarms, { empty: "It has raised none." });
}

function acknowledge(alarm, id, again) {
  const comment = h("textarea", { maxlength: 2000 });
  return action("Acknowledge…", { scope: "run", onclick: () => confirmDialog({
    title: `Alarm ${alarm.number}`, label: "Acknowledge", says: ["You have seen it. It clears by itself once what it tells is over."], fields: [field("Comment", comment)],
    run: () => call("acknowledgeMonitorAlarm", { ...id, number: alarm.number }, { json: { comment: comment.value } }), done: again, said: () => `Alarm ${alarm.number} is acknowledged.`,
  }) });
}

function liveFacts(monitor) {
  const { rate, window, keep_samples: most, keep_days: days } = monitor.document.live;
  return facts([
    ["Looked at", `${format.percent(rate, 1)} of the exchanges, ${format.whole(window)} at once`],
    ["Kept", `${format.whole(monitor.live_kept)}, redacted; at most ${format.whole(most)}, for ${format.number(days)} days`],
    ["Last", exact(monitor.live_last_time)],
    monitor.live_error ? ["None come", monitor.live_error] : null,
  ].filter(Boolean));
}

// Only when somebody asks for them: they are texts of people, and each page read is in the audit log.
function samples(id, signal) {
  const box = h("div");
  const show = () => put(box, paged(
    async (token) => {
      const page = await call("listMonitorSamples", id, { search: { page_size: 50, page_token: token }, signal });
      return { rows: page.samples, next: page.next_page_token };
    },
    (rows) => table("Exchanges, newest first", [
      { title: "Number", header: true, cell: (one) => one.number },
      { title: "Ended", cell: (one) => stamp(one.end_time) },
      { title: "Asked", cell: (one) => one.request },
      { title: "Answered", cell: (one) => one.answer },
      { title: "By", cell: (one) => one.adapter || "the base model" },
    ], rows, { empty: "None is kept." })));
  put(box, action("Show exchanges…", { scope: "admin", onclick: () => confirmDialog({ title: "Show exchanges", label: "Show", says: ["These are redacted texts of people. That you read them is written to the audit log."], run: async () => null, done: show, said: () => "" }) }));
  return box;
}
