// A new run: a shipped study, or one of the reader's own; checked before it is begun.

import { ask, get, getText, randomKey, seg } from "../api.js";
import { h, notify, put } from "../dom.js";
import { action, errorPanel, facts, field, head, section, select } from "../components.js";

const MOST_BYTES = 256 * 1024;
const TYPES = { headers: { "Content-Type": "application/yaml" } };

export default async function newRun({ query, signal }) {
  const [{ studies }, { runs }] = await Promise.all([get("/v1/studies/shipped", { signal }), get("/v1/runs?page_size=1", { signal })]);
  const text = h("textarea", { class: "code", spellcheck: "false", wrap: "off", autocomplete: "off", oninput: changed });
  const outcome = h("div", { "aria-live": "polite" });
  // One intention, one key: a second press, or one after a broken connection, gives the same run.
  let intent = randomKey();

  function changed() {
    intent = randomKey();
    put(outcome);
  }
  const fill = (content) => { text.value = content; changed(); };
  const shipped = select([["", "Choose a shipped study…"], ...studies.map((one) => [one.id, `${one.id}: ${one.title}`])], "", async (id) => {
    if (!id) return;
    try {
      fill(await getText(`/v1/studies/shipped/${seg(id)}`));
    } catch (error) {
      put(outcome, errorPanel(error));
    }
  });
  const file = h("input", { type: "file", accept: ".yaml,.yml,.json,application/yaml,application/json", onchange: async () => {
    const [chosen] = file.files;
    if (!chosen) return;
    if (chosen.size > MOST_BYTES) put(outcome, errorPanel(new Error(`${chosen.name} has ${chosen.size} bytes; a study has at most ${MOST_BYTES}.`)));
    else fill(await chosen.text());
  } });

  async function check() {
    try {
      const study = await (await ask("POST", "/v1/studies/check", { text: text.value, ...TYPES })).json();
      put(outcome, h("div", { class: "notice" }, "The study is valid. Nothing has been started."), facts(summary(study)));
      return true;
    } catch (error) {
      put(outcome, errorPanel(error));
      goTo(text, error.errors?.find((fault) => fault.line));
      return false;
    }
  }

  async function begin() {
    try {
      const run = await (await ask("POST", "/v1/runs", { text: text.value, headers: { ...TYPES.headers, "Idempotency-Key": intent } })).json();
      location.hash = `#/runs/${seg(run.run_id)}`;
      setTimeout(() => notify(`Run ${run.run_id} was accepted.`), 300);
    } catch (error) {
      put(outcome, errorPanel(error));
      goTo(text, error.errors?.find((fault) => fault.line));
    }
  }

  if (query.get("study")) fill(await getText(`/v1/studies/shipped/${seg(query.get("study"))}`));
  return [
    head("New run", { below: runs.length ? null : "The first one: the study “demo” takes minutes on a small machine." }),
    section("Study",
      h("div", { class: "filters" }, field("Shipped studies", shipped), field("From a file", file)),
      field("Study (YAML or JSON)", text, "Everything but the name has a default."),
      h("div", { class: "actions" },
        h("button", { type: "button", onclick: check }, "Check"),
        action("Begin the run", { scope: "run", kind: "primary", onclick: begin })),
      outcome),
  ];
}

function summary(study) {
  return [
    ["Name", study.name],
    ["Model", study.model ?? "whatever the generator serves"],
    ["Reference set", `${study.reference_set.title ?? study.reference_set.id} ${study.reference_set.version ?? ""}`],
    ["Topics", study.topics.map((topic) => topic.title).join(", ")],
    ["Principles a topic", study.principles_per_topic],
    ["Iterations at most", study.measure_only ? "none: it only measures" : study.stop.max_iterations],
    ["Control arms", study.arms.controls.join(", ") || "none"],
    ["Approval by a second person", study.promotion.approval ? "asked for" : "not asked for"],
  ];
}

// Select the place of a fault, so that typing goes on where it is.
function goTo(text, fault) {
  if (!fault) return;
  const lines = text.value.split("\n");
  const start = lines.slice(0, fault.line - 1).reduce((sum, line) => sum + line.length + 1, 0);
  const from = start + Math.min((fault.column ?? 1) - 1, (lines[fault.line - 1] ?? "").length);
  text.focus();
  text.setSelectionRange(from, start + (lines[fault.line - 1] ?? "").length);
}

