// Links to runs and adapters, said the same everywhere.

import { h } from "../dom.js";
import { link } from "../components.js";

/** To an adapter; "" is the base model. */
export const adapterLink = (name) => (name ? link(`#/adapters/${encodeURIComponent(name)}`, h("code", null, name)) : "the base model");

/** To a run: its study's name, and its id. */
export const runLink = (run) => [link(`#/runs/${encodeURIComponent(run.run_id)}`, run.name || run.run_id), h("div", { class: "small muted" }, h("code", null, run.run_id))];

export const runIdLink = (id) => (id ? link(`#/runs/${encodeURIComponent(id)}`, h("code", null, id)) : "–");
