// One run: live while it goes on, the verdict and the report once it has ended.

import { follow, get, post, seg } from "../api.js";
import { announce, h, put } from "../dom.js";
import * as format from "../format.js";
import { action, badge, code, confirmDialog, errorPanel, exact, facts, field, head, meter, part, section, select, table } from "../components.js";
import { lineChart } from "../charts.js";
import { finished } from "./finished.js";
import * as runstate from "./runstate.js";

export default async function runPage({ params, signal }) {
  const address = `/v1/runs/${seg(params.id)}`;
  let run = await get(address, { signal });
  const state = runstate.begin();
  const top = h("div");
  const result = h("div");
  const live = { connection: h("p", { class: "muted small" }), stages: h("div"), means: h("div"), loss: h("div"), log: h("div") };

  const refresh = async () => {
    run = await get(address, { signal });
    drawTop();
  };
  function drawTop() {
    // Drawn anew while somebody is on it: the keyboard stays where it was.
    const held = top.contains(document.activeElement) ? document.activeElement : null;
    put(top, head(run.name, { above: [badge(run.status), run.pause_requested && run.status === "running" ? " pausing " : " ", code(run.run_id)], actions: actions(run, address, refresh) }),
      run.error ? h("div", { class: "error", role: "alert" }, h("p", null, h("strong", null, `${run.error.code}. `), run.error.message)) : null,
      facts([["Begun", exact(run.create_time)], ["By", code(run.created_by || "–")], ["Ended", run.end_time && exact(run.end_time)], ["Attempt", run.attempt], ["Identity", run.identity && code(format.hash(run.identity))]]));
    if (held) {
      const same = [...top.querySelectorAll(held.tagName)].find((one) => one.textContent === held.textContent);
      (same ?? top.querySelector("h1")).focus({ preventScroll: true });
    }
  }
  function draw() {
    put(live.stages, stagesTable(state));
    put(live.means, differences(state));
    put(live.loss, losses(state));
    drawLog(live.log, state);
  }
  function drawResult() {
    put(result, state.ended === "succeeded" ? part(() => finished(run, signal)) : null);
  }

  drawTop();
  draw();
  let due = 0;
  const drawSoon = () => {
    due ||= setTimeout(() => { due = 0; if (!signal.aborted) draw(); }, 200);
  };
  const counting = setInterval(() => { if (!state.ended) drawSoon(); }, 1000);
  signal.addEventListener("abort", () => { clearInterval(counting); clearTimeout(due); });
  const begun = Date.now();

  follow(`${address}/events`, {
    signal,
    onState: (now) => put(live.connection, now === "connected" ? "Live: what happens is shown as it happens." : "The connection broke; it is opened again, and nothing is missed."),
    onEvent: (event) => {
      const told = runstate.take(state, event);
      // What happened before the page was opened is history, and not told aloud.
      if (told && new Date(event.time).getTime() > begun - 1000) announce(`${format.word(event.kind)}. ${runstate.said(event)}`);
      if (told && (event.kind.startsWith("run.") || event.kind === "stage.started")) refresh().then(drawResult, (error) => showError(error, signal, live));
      drawSoon();
    },
  }).then(async () => {
    put(live.connection, "The run has ended.");
    await refresh();
    state.ended ||= run.status;
    draw();
  }).catch((error) => showError(error, signal, live));

  return [
    top, result,
    section("Stages", live.connection, live.stages),
    section("Value differences", live.means),
    section("Training loss", live.loss),
    section("Events", live.log),
  ];
}

function showError(error, signal, live) {
  if (!signal.aborted) put(live.connection, errorPanel(error));
}

function actions(run, address, refresh) {
  const ended = ["succeeded", "failed", "cancelled"].includes(run.status);
  const ask = (verb, says, label, danger = false) => () => confirmDialog({
    title: `${label}: ${run.name}`, says, label, danger,
    run: () => post(`${address}/${verb}`), done: refresh, said: (now) => `${format.word(verb)} was asked; the run is ${now.status}.`,
  });
  const some = { scope: "run" };
  if (ended) return [action("Retry…", { ...some, onclick: () => retry(run, address, refresh) })];
  return [
    run.status === "paused" || run.pause_requested
      ? action("Resume", { ...some, onclick: ask("resume", ["The run takes its place in the queue and goes on with the step that was cut."], "Resume") })
      : action("Pause…", { ...some, onclick: ask("pause", ["The run stops where it is and keeps all that it has. Training in progress goes on to its end."], "Pause") }),
    action("Cancel…", { ...some, kind: "danger", why: run.cancel_requested ? "It was asked to stop already." : "", onclick: ask("cancel", ["The run stops, its training is cancelled and its adapters are unloaded. What it drew is kept: it can be retried."], "Cancel the run", true) }),
  ];
}

async function retry(run, address, refresh) {
  const { steps } = await get(`${address}/steps`);
  const from = select([["", "The step that failed or was cut"], ...steps.map((step) => [step.name, `${step.number}. ${step.name}${step.error_code ? ` (${step.error_code})` : ""}`])], "");
  confirmDialog({
    title: `Retry: ${run.name}`, label: "Retry", fields: [field("From step", from)],
    says: ["The run is opened again from the step on. What it drew and trained before is used again; what follows the step is done anew."],
    run: () => post(`${address}/retry${from.value ? `?from_step=${seg(from.value)}` : ""}`),
    done: async () => { await refresh(); location.reload(); }, said: (now) => `Attempt ${now.attempt} is ${now.status}.`,
  });
}

function stagesTable(state) {
  if (state.waiting) return [h("p", { class: "notice bad" }, state.waiting), stagesBody(state)];
  return stagesBody(state);
}

function stagesBody(state) {
  const left = runstate.secondsLeft(state);
  const rows = state.order.map((name) => state.stages.get(name));
  return [
    left === null ? null : h("p", null, `This stage: about ${format.duration(left)} left, at its pace of late.`),
    table("Stages of the run", [
      { title: "Stage", header: true, cell: (one) => `${format.word(one.name)}${one.iteration === null ? "" : `, iteration ${one.iteration}`}` },
      { title: "State", cell: (one) => badge(one.state) },
      { title: "Progress", cell: (one) => (one.total ? [meter(one.done, one.total, `Progress of ${one.name}`), ` ${format.whole(one.done)} of ${format.whole(one.total)}`] : "–") },
      { title: "Took", number: true, cell: (one) => format.duration(one.spent ?? (one.state === "running" ? (Date.now() - one.begun) / 1000 : null)) },
    ], rows, { empty: "The run has not begun: it waits for its turn." }),
  ];
}

function differences(state) {
  const series = Object.entries(runstate.byIteration(state)).map(([topic, points]) => ({ name: format.word(topic), points }));
  const arms = [...state.means.values()];
  const topics = [...new Set(arms.flatMap((one) => Object.keys(one.means)))];
  const columns = arms.map((one) => ({ title: `${one.arm}, ${one.split}`, number: true, cell: (topic) => format.difference(one.means[topic]) }));
  return [
    h("p", { class: "muted small" }, "1 − cosine similarity to the aligned texts, in [0, 2], no unit: lower is nearer. These are means on the way; intervals are in the report."),
    h("div", { class: "columns" },
      series.length ? lineChart({ title: "Value difference by topic and iteration, validation inputs", series, x: { label: "Iteration (0: before training)", whole: true }, y: { label: "Value difference", show: (value) => value.toFixed(3) } }) : null,
      table("Value difference by topic and arm", [{ title: "Topic", header: true, cell: format.word }, ...columns], topics, { empty: "They come once the pairs are embedded." })),
  ];
}

function losses(state) {
  const series = [...state.training].map(([name, curve]) => ({ name, points: [...curve.points].sort((a, b) => a[0] - b[0]) })).filter((one) => one.points.length);
  const last = [...state.training.values()].at(-1)?.last;
  return [
    last ? facts([["Step", `${format.whole(last.step)} of ${format.whole(last.total_steps)}`], ["Loss", format.number(last.loss)], ["Learning rate", format.number(last.learning_rate)], ["Tokens a second", format.whole(Math.round(last.tokens_per_s ?? NaN))], ["Job", code(format.hash(last.job_id ?? ""))]]) : null,
    series.length ? lineChart({ title: "Training loss", series, x: { label: "Step", whole: true }, y: { label: "Weighted loss (nats a token)", show: (value) => String(Number(value.toPrecision(3))) } }) : h("p", { class: "empty" }, "No training yet."),
  ];
}

const MOST_LINES = 300;

function drawLog(box, state) {
  let list = box.querySelector("ol");
  if (!list) {
    list = h("ol", { class: "log", tabindex: "0", "aria-label": "Events, newest first" });
    put(box, list);
    list.shown = 0;
  }
  for (const event of state.log.slice(list.shown)) {
    list.prepend(h("li", null, h("span", { class: "muted number" }, event.number), exact(event.time), h("strong", null, format.word(event.kind)), h("span", null, runstate.said(event))));
  }
  list.shown = state.log.length;
  while (list.children.length > MOST_LINES) list.lastChild.remove();
}
