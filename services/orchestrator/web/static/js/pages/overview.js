// Everything at a glance: what serves, what runs, what waits for a person, what is wrong.

import { get, has } from "../api.js";
import { h } from "../dom.js";
import * as format from "../format.js";
import { badge, code, head, link, part, section, stamp, table } from "../components.js";
import { adapterLink, runLink } from "./links.js";

export default function overview({ signal }) {
  const services = part(() => servicesPart(signal));
  const routes = part(() => routesPart(signal));
  const runs = part(() => runsPart(signal));
  const asked = part(() => approvalsPart(signal));
  const monitors = part(() => monitorsPart(signal));
  const parts = [routes, runs, asked, services, monitors];
  const timer = setInterval(() => { if (!document.hidden) parts.forEach((one) => one.again()); }, 10_000);
  signal.addEventListener("abort", () => clearInterval(timer));
  return [
    head("Overview", { below: "Whose values does the model speak with? Refreshed every 10 s." }),
    h("div", { class: "columns" },
      h("div", null, section("Public names", routes), section("Runs", runs)),
      h("div", null, section("Approvals asked", asked), section("Monitors and alarms", monitors), section("Services", services))),
  ];
}

async function routesPart(signal) {
  const { routes } = await get("/v1/routes", { signal });
  return table("Public names and what they serve", [
    { title: "Name", header: true, cell: (route) => link(`#/routes/${encodeURIComponent(route.name)}`, route.name) },
    { title: "Serves", cell: (route) => [adapterLink(route.adapter), route.canary_share > 0 ? h("div", { class: "small" }, `Canary ${format.percent(route.canary_share)}: `, adapterLink(route.canary_adapter)) : null] },
    { title: "State", cell: (route) => badge(route.state, route.reason) },
    { title: "Replicas", number: true, cell: (route) => `${route.replicas.filter((one) => one.serving && one.version === route.version).length} of ${route.replicas.length}` },
  ], routes, { empty: "No adapter was ever promoted: the public name serves the base model." });
}

async function runsPart(signal) {
  const pages = await Promise.all(["running", "queued", "paused"].map((status) => get(`/v1/runs?status=${status}&page_size=20`, { signal })));
  const { runs: latest } = await get("/v1/runs?page_size=5", { signal });
  const open = pages.flatMap((page) => page.runs);
  const shown = [...open, ...latest.filter((run) => !open.some((one) => one.run_id === run.run_id))].slice(0, 12);
  return [
    h("p", null, h("strong", null, open.length), ` open. `, link("#/runs/new", "New run"), " · ", link("#/runs", "All runs")),
    table("Open runs, then the latest", [
      { title: "Run", header: true, cell: (run) => runLink(run) },
      { title: "Status", cell: (run) => badge(run.status) },
      { title: "Stage", cell: (run) => format.word(run.stage) || "–" },
      { title: "Begun", cell: (run) => stamp(run.create_time) },
    ], shown, { empty: "No run yet." }),
  ];
}

async function approvalsPart(signal) {
  const { adapters } = await get("/v1/adapters?state=candidate&page_size=50", { signal });
  const wanting = adapters.filter((one) => one.approval_required);
  const details = await Promise.all(wanting.slice(0, 20).map((one) => get(`/v1/adapters/${encodeURIComponent(one.name)}`, { signal })));
  const rows = details.filter(({ adapter, approvals }) => !approvals.some((one) => one.actor !== adapter.created_by));
  return table("Adapters that wait for a second person", [
    { title: "Adapter", header: true, cell: ({ adapter }) => adapterLink(adapter.name) },
    { title: "Begun by", cell: ({ adapter }) => code(adapter.created_by) },
    { title: "Since", cell: ({ adapter }) => stamp(adapter.update_time) },
  ], rows, { empty: "Nobody's approval is waited for." });
}

async function servicesPart(signal) {
  const { services } = await get("/v1/system", { signal });
  return table("Services and the models that they serve", [
    { title: "Service", header: true, cell: (one) => format.word(one.name) },
    { title: "State", cell: (one) => badge(one.serving ? "serving" : one.reachable ? "waiting" : "away", one.error || null) },
    { title: "Model", cell: (one) => [one.model || "–", one.error ? h("div", { class: "small muted" }, one.error) : null] },
    { title: "Device", cell: (one) => one.device || "–" },
    { title: "Answer in", number: true, cell: (one) => format.duration(one.latency_s) },
  ], services);
}

async function monitorsPart(signal) {
  if (!await has("listMonitors")) return h("p", { class: "empty" }, "This server has no monitors.");
  const { overviewTable } = await import("./monitors.js");
  return overviewTable(signal);
}
