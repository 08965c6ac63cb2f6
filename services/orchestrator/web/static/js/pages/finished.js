// The end of a run: the verdict and its reasons, then the report, then what can be taken along.

import { download, get, getText, has, query, seg } from "../api.js";
import { h } from "../dom.js";
import * as format from "../format.js";
import { badge, errorPanel, section, table } from "../components.js";
import { costPart } from "./cost.js";
import { adapterLink } from "./links.js";
import { documentFrame } from "./frames.js";

/** All of it, for a run that has succeeded. */
export async function finished(run, signal) {
  const address = `/v1/runs/${seg(run.run_id)}`;
  const [report, html, { adapters }] = await Promise.all([
    get(`${address}/report`, { signal }), getText(`${address}/report.html`, { signal }), get(`/v1/adapters${query({ run_id: run.run_id })}`, { signal }),
  ]);
  const verdict = report.analysis?.verdict;
  return [
    verdict ? verdictPart(verdict) : h("section", { class: "verdict" }, h("h2", null, "No verdict"), h("p", null, "This run measured, and trained nothing that could be judged.")),
    section("Adapters of this run", table("Adapters", [
      { title: "Adapter", header: true, cell: (one) => adapterLink(one.name) },
      { title: "State", cell: (one) => badge(one.state) },
      { title: "Why", cell: (one) => one.reason || "–" },
    ], adapters, { empty: "It has trained none." })),
    costPart(report),
    section("Report", documentFrame(`Report of ${run.name}`, html, signal), await downloads(run, address, adapters)),
  ];
}

function verdictPart(verdict) {
  const kind = format.stateOf(verdict.decision)[1];
  const reasons = table("Rules of the gate, those that decided first", [
    { title: "Rule", header: true, cell: (one) => format.word(one.rule) },
    { title: "Says", cell: (one) => badge(one.outcome) },
    { title: "Because", cell: (one) => one.text },
    { title: "Value", number: true, cell: (one) => format.number(one.value ?? NaN) },
    { title: "Threshold", number: true, cell: (one) => format.number(one.threshold ?? NaN) },
  ], verdict.reasons);
  return h("section", { class: `verdict ${kind}`, "aria-label": "Verdict" },
    h("h2", null, badge(verdict.decision), " Verdict"),
    h("p", null, verdict.headline),
    h("details", { open: true }, h("summary", null, `The ${verdict.reasons.length} rules and their reasons`), reasons));
}

async function downloads(run, address, adapters) {
  const problem = h("div");
  const take = (label, path, name) => h("button", { type: "button", onclick: async () => {
    problem.replaceChildren();
    try {
      await download(path, name);
    } catch (error) {
      problem.append(errorPanel(error));
    }
  } }, label);
  return [
    h("div", { class: "actions" },
      take("report.html", `${address}/report.html`, `valign-${run.run_id}.html`),
      take("report.json", `${address}/report`, `valign-${run.run_id}.json`),
      take("Audit bundle", `${address}/bundle`, `valign-${run.run_id}.zip`),
      adapters.length ? take("Model card", `${address}/model-card`, `valign-${run.run_id}-README.md`) : null,
      h("a", { class: "button", href: `#/compare${query({ runs: run.run_id })}` }, "Compare with other runs"),
      await has("listReviews") ? h("a", { class: "button", href: `#/reviews${query({ run: run.run_id })}` }, "Human review") : null),
    problem,
  ];
}
