// What a run's events add up to: stages, training curves, value differences. Pure; each event once, in order.

import { whole } from "../format.js";

const QUIET = new Set(["stage.progress", "training.progress", "service.waiting"]);

/** An empty state. */
export function begin() {
  return { stages: new Map(), order: [], now: "", training: new Map(), means: new Map(), iterations: [], log: [], last: 0, ended: "", decision: null, waiting: "", result: null };
}

/** Add one event; true if it is worth a word to somebody who listens. */
export function take(state, event) {
  if (event.number <= state.last) return false;
  state.last = event.number;
  const { kind, data } = event;
  if (!QUIET.has(kind)) state.log.push(event);
  const handler = HANDLERS[kind];
  if (handler) handler(state, data, new Date(event.time).getTime());
  if (kind !== "service.waiting" && kind !== "stage.progress") state.waiting = "";
  return kind.startsWith("run.") || kind.startsWith("stage.") && kind !== "stage.progress" || ["verdict.reached", "iteration.ended", "budget.reached"].includes(kind);
}

function stage(state, name) {
  if (!state.stages.has(name)) {
    state.stages.set(name, { name, state: "open", done: 0, total: 0, begun: 0, spent: null, iteration: null, samples: [] });
    state.order.push(name);
  }
  return state.stages.get(name);
}

const HANDLERS = {
  "stage.started": (state, data, at) => {
    const one = stage(state, data.stage);
    Object.assign(one, { state: "running", begun: at, done: 0, total: 0, samples: [], iteration: data.iteration ?? one.iteration });
    state.now = data.stage;
  },
  "stage.progress": (state, data, at) => {
    if (data.topic) return;
    const one = stage(state, data.stage);
    if (data.done < one.done) one.samples = [];
    Object.assign(one, { done: data.done, total: data.total, iteration: data.iteration ?? one.iteration });
    one.samples.push([at, data.done]);
    if (one.samples.length > 40) one.samples.shift();
  },
  "stage.ended": (state, data) => Object.assign(stage(state, data.stage), { state: "succeeded", spent: data.duration_s }),
  "training.progress": (state, data, at) => {
    const name = `${data.arm ? `${data.arm}, ` : ""}iteration ${data.iteration}`;
    if (!state.training.has(name)) state.training.set(name, { points: new Map(), last: null });
    const curve = state.training.get(name);
    if (data.step > 0 && Number.isFinite(data.loss)) curve.points.set(data.step, data.loss);
    curve.last = { ...data, at };
  },
  "topic.means": (state, data) => {
    const name = `${data.arm}|${data.split}|${data.iteration ?? ""}`;
    state.means.set(name, { arm: data.arm, split: data.split, iteration: data.iteration ?? null, means: data.means });
  },
  "iteration.ended": (state, data) => state.iterations.push(data),
  "service.waiting": (state, data) => { state.waiting = `Waiting for the ${data.service}: ${data.reason}`; },
  "verdict.reached": (state, data) => { state.decision = data; },
  "run.succeeded": (state, data) => { end(state, "succeeded"); state.result = data; },
  "run.failed": (state) => end(state, "failed"),
  "run.cancelled": (state) => end(state, "cancelled"),
  "run.paused": (state) => pause(state),
  "run.retried": (state) => {
    state.ended = "";
    for (const one of state.stages.values()) if (one.state !== "succeeded") one.state = "open";
  },
};

function end(state, how) {
  state.ended = how;
  for (const one of state.stages.values()) if (one.state === "running") one.state = how;
}

function pause(state) {
  for (const one of state.stages.values()) if (one.state === "running") one.state = "paused";
}

/** Seconds until the running stage is done, by its own pace of late; null while that cannot be said. */
export function secondsLeft(state, now = Date.now()) {
  const one = state.stages.get(state.now);
  if (!one || one.state !== "running" || state.ended) return null;
  const latest = [...state.training.values()].map((curve) => curve.last).filter((last) => last && last.state === "running").at(-1);
  if (latest && Number.isFinite(latest.time_left_s) && now - latest.at < 30_000) return Math.max(0, latest.time_left_s - (now - latest.at) / 1000);
  if (one.samples.length < 3 || !one.total || one.done >= one.total) return null;
  const [[begun, before], [at, done]] = [one.samples[0], one.samples.at(-1)];
  if (done <= before || at <= begun) return null;
  return Math.max(0, ((one.total - done) * (at - begun)) / (done - before) / 1000 - (now - at) / 1000);
}

/** Value difference on the validation inputs by iteration: {topic: [[iteration, mean]]}. */
export function byIteration(state) {
  const found = {};
  const note = (means, iteration) => {
    for (const [topic, mean] of Object.entries(means)) (found[topic] ??= new Map()).set(iteration, mean);
  };
  for (const one of state.means.values()) if (one.split === "validation" && one.iteration !== null) note(one.means, one.iteration);
  for (const one of state.iterations) note(one.validation_means ?? {}, one.iteration);
  return Object.fromEntries(Object.entries(found).map(([topic, points]) => [topic, [...points].sort((a, b) => a[0] - b[0])]));
}

/** A limit that was reached in one sentence: what it allows, what was used, what was left out. */
export function budgetReached(data) {
  const number = (value) => whole(Math.round(value));
  return `budget.${data.limit} allows ${number(data.allowed)}: ${number(data.used)} were used, and what came next would have taken about ${number(data.needed)} with the end of the run. Left out: ${data.left_out || data.before || data.step}.`;
}

/** One line of the log in words. */
export function said(event) {
  const { data } = event;
  switch (event.kind) {
    case "stage.started": return `${data.stage} begins${data.iteration === undefined ? "" : `, iteration ${data.iteration}`}`;
    case "stage.ended": return `${data.stage} is done`;
    case "topic.means": return `Value differences of ${data.arm} on ${data.split}`;
    case "topics.ranked": return `Farthest first: ${Object.keys(data.ranks ?? {}).join(", ")}`;
    case "adapter.loaded": return `${data.name} is loaded and proven by ${data.canaries} canaries`;
    case "iteration.ended": return `Iteration ${data.iteration} is over${data.stop_reason ? `: ${data.stop_reason}` : ""}`;
    case "budget.reached": return budgetReached(data);
    case "verdict.reached": return `${data.decision}: ${data.headline}`;
    case "run.failed": return `${data.code}: ${data.message}`;
    case "probe.failed": return `${data.probe} could not be asked: ${data.message}`;
    case "reference.overdue": return data.message;
    case "run.retried": return `Attempt ${data.attempt ? data.attempt + 1 : ""}, from ${data.from_step || "the step that failed"}`;
    default: return "";
  }
}
