// Several runs side by side: which, and the comparison page.

import { ask, download, get, query } from "../api.js";
import { h, notify, put } from "../dom.js";
import { errorPanel, exact, head, link, paged, section, table } from "../components.js";
import { runLink } from "./links.js";
import { documentFrame } from "./frames.js";

export default function compare({ query: asked, signal }) {
  const chosen = new Set((asked.get("runs") ?? "").split(",").filter(Boolean));
  const outcome = h("div");
  const count = h("span", { class: "muted", "aria-live": "polite" });
  const tell = () => put(count, `${chosen.size} chosen`);
  const list = paged(
    async (token) => {
      const page = await get(`/v1/runs${query({ status: "succeeded", page_size: 50, page_token: token })}`, { signal });
      return { rows: page.runs, next: page.next_page_token };
    },
    (rows) => table("Runs that have succeeded", [
      { title: "Chosen", cell: (run) => h("input", { type: "checkbox", "aria-label": `Compare ${run.name}, ${run.run_id}`, checked: chosen.has(run.run_id), onchange: (event) => {
        if (event.target.checked) chosen.add(run.run_id);
        else chosen.delete(run.run_id);
        tell();
      } }) },
      { title: "Run", header: true, cell: runLink },
      { title: "Ended", cell: (run) => exact(run.end_time) },
    ], rows, { empty: "No run has succeeded yet." }),
  );

  async function show() {
    const body = { json: { run_ids: [...chosen] } };
    history.replaceState(null, "", `#/compare${query({ runs: [...chosen].join(",") })}`);
    put(outcome, h("p", { class: "muted" }, "Comparing…"));
    try {
      const html = await (await ask("POST", "/v1/compare.html", { ...body, signal })).text();
      put(outcome, section("Comparison", documentFrame("Comparison of runs", html, signal), h("div", { class: "actions" },
        h("button", { type: "button", onclick: () => save("/v1/compare.html", "valign-comparison.html", body) }, "comparison.html"),
        h("button", { type: "button", onclick: () => save("/v1/compare", "valign-comparison.json", body) }, "comparison.json"))));
    } catch (error) {
      if (!signal.aborted) put(outcome, errorPanel(error));
    }
  }
  async function save(path, name, body) {
    try {
      await download(path, name, { method: "POST", ...body });
    } catch (error) {
      notify(error.message, "bad");
    }
  }
  tell();
  if (chosen.size > 1) show();
  return [
    head("Compare", { below: "Several models on one reference set, or several sets on one model." }),
    section("Runs", list, h("div", { class: "actions" }, h("button", { type: "button", class: "primary", onclick: show }, "Compare"), count)),
    outcome,
    h("p", { class: "muted small" }, "Runs that differ in encoder, prompt set or ruler are refused, with every reason. ", link("#/runs", "All runs")),
  ];
}
