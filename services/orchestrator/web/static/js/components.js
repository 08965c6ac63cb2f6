// The parts that pages are made of.

import { Problem, whyNot } from "./api.js";
import { add, h, newId, notify, put } from "./dom.js";
import * as format from "./format.js";

/** A state: glyph, word and colour. */
export function badge(state, title = null) {
  const [glyph, kind] = format.stateOf(state);
  return h("span", { class: `badge ${kind}`, title }, h("span", { "aria-hidden": "true" }, glyph), ` ${String(state).replaceAll("_", " ")}`);
}

/** The head of a page: its h1, a line below it, and what can be done. */
export function head(title, { above = null, below = null, actions = [] } = {}) {
  return h("div", { class: "head" },
    h("div", null, above && h("p", { class: "above" }, above), h("h1", { tabindex: "-1" }, title), below && h("p", { class: "muted" }, below)),
    actions.length ? h("div", { class: "actions" }, actions) : null);
}

/** A part of a page under an h2. */
export function section(title, ...content) {
  const id = newId("section");
  return h("section", { "aria-labelledby": id }, h("h2", { id }, title), content);
}

/** A table. `columns`: [{title, cell(row), number?, header?}]; wide ones scroll inside their own box. */
export function table(caption, columns, rows, { empty = "Nothing yet." } = {}) {
  if (!rows.length) return h("p", { class: "empty" }, empty);
  const body = rows.map((row) => h("tr", null, columns.map((column) => {
    const shown = column.cell(row);
    return column.header ? h("th", { scope: "row" }, shown) : h("td", { class: column.number ? "number" : null }, shown);
  })));
  return scroller(caption, h("table", null,
    h("caption", { class: "hidden" }, caption),
    h("thead", null, h("tr", null, columns.map((column) => h("th", { scope: "col", class: column.number ? "number" : null }, column.title)))),
    h("tbody", null, body)));
}

/** What may be wider than the screen: it scrolls, also by keyboard. */
export function scroller(label, content) {
  return h("div", { class: "scroller", tabindex: "0", role: "region", "aria-label": label }, content);
}

/** Facts as a list of terms: [[term, value], …]; those without a value are left out. */
export function facts(pairs) {
  return h("dl", { class: "facts" }, pairs.filter(([, value]) => value !== null && value !== undefined && value !== "")
    .map(([term, value]) => h("div", null, h("dt", null, term), h("dd", null, value))));
}

export const link = (href, ...content) => h("a", { href }, content);
export const code = (text) => h("code", null, text);
export const stamp = (iso) => (iso ? h("time", { datetime: iso, title: format.time(iso) }, format.ago(iso)) : "–");
export const exact = (iso) => (iso ? h("time", { datetime: iso }, format.time(iso)) : "–");

/** What went wrong, in the server's words, with every place in a document that it names. */
export function errorPanel(error) {
  const problem = error instanceof Problem ? error : null;
  const faults = (problem?.errors ?? []).filter((fault) => fault.message);
  return h("div", { class: "error", role: "alert" },
    h("p", null, h("strong", null, `${problem?.title || "That did not work"}. `), error.message),
    faults.length ? h("ul", null, faults.map((fault) => h("li", null,
      fault.line ? h("strong", null, `Line ${fault.line}, column ${fault.column ?? 1}: `) : null,
      fault.path ? [code(fault.path), " "] : null, fault.message))) : null,
    problem?.requestId ? h("p", { class: "small" }, "Request ", code(problem.requestId), " in the server's log.") : null);
}

/** A button for what needs a scope: without it, it stays focusable, does nothing, and says why. */
export function action(label, { scope = "", why = "", onclick, kind = "" }) {
  const refused = (scope && whyNot(scope)) || why;
  const id = newId("why");
  const button = h("button", {
    type: "button", class: kind || null, "aria-disabled": refused ? "true" : null, "aria-describedby": refused ? id : null,
    title: refused || null, onclick: (event) => { if (!refused) onclick(event); },
  }, label);
  return refused ? h("span", { class: "refused" }, button, h("span", { id, class: "why" }, refused)) : button;
}

/** A labelled field of a form. `control` gets the label's id. */
export function field(label, control, hint = null) {
  const id = newId("field");
  control.id = id;
  const hintId = hint ? newId("hint") : null;
  if (hintId) control.setAttribute("aria-describedby", hintId);
  return h("div", { class: "field" }, h("label", { for: id }, label), control, hint && h("p", { class: "hint", id: hintId }, hint));
}

/** A select of [value, label] pairs. */
export function select(options, value, onchange) {
  return h("select", { onchange: (event) => onchange?.(event.target.value) },
    options.map(([key, label]) => h("option", { value: key, selected: key === value }, label)));
}

/** Ask before something happens, and do it: the dialog stays, with the error and its remedy, until it worked.
 *
 * `says` are sentences that tell exactly what will happen; `fields` elements between them and the buttons;
 * `run()` does it; `done(result)` follows, and `said` is what is told then.
 */
export function confirmDialog({ title, says, fields = [], label, danger = false, run, done, said }) {
  const titleId = newId("dialog");
  const problem = h("div");
  const go = h("button", { type: "submit", class: danger ? "danger" : "primary" }, label);
  const dialog = h("dialog", { "aria-labelledby": titleId, onclose: () => dialog.remove() },
    h("form", { method: "dialog", onsubmit: (event) => { event.preventDefault(); attempt(); } },
      h("h2", { id: titleId }, title),
      says.map((sentence) => h("p", null, sentence)),
      fields, problem,
      h("div", { class: "actions" }, go, h("button", { type: "button", onclick: () => dialog.close() }, "Cancel"))));
  async function attempt() {
    go.disabled = true;
    put(problem);
    try {
      const result = await run();
      dialog.close();
      await done(result);
      // Last: what is drawn anew takes the messages of before away.
      notify(said(result));
    } catch (error) {
      put(problem, errorPanel(error));
    } finally {
      go.disabled = false;
    }
  }
  document.body.append(dialog);
  dialog.showModal();
  return dialog;
}

/** A page's part that is loaded by itself, with its own error. */
export function part(load) {
  const box = h("div", { class: "part", "aria-busy": "true" }, h("p", { class: "muted" }, "Loading…"));
  const fillIt = async () => {
    try {
      put(box, await load());
    } catch (error) {
      if (error.name !== "AbortError") put(box, errorPanel(error));
    }
    box.removeAttribute("aria-busy");
  };
  box.again = fillIt;
  fillIt();
  return box;
}

/** Rows a page at a time: `load(token)` gives {rows, next}; `show(rows)` draws all that were loaded. */
export function paged(load, show) {
  const body = h("div");
  const more = h("button", { type: "button", onclick: () => next() }, "Show more");
  const box = h("div", { class: "paged" }, body, more);
  let rows = [];
  let token = "";
  more.hidden = true;
  async function next() {
    try {
      const found = await load(token);
      rows = rows.concat(found.rows);
      token = found.next;
      put(body, show(rows));
      more.hidden = !token;
    } catch (error) {
      if (error.name !== "AbortError") put(body, errorPanel(error));
    }
  }
  next();
  return box;
}

/** Add a class while something is the case. */
export function meter(done, total, label) {
  return h("progress", { max: Math.max(1, total), value: Math.min(done, total), "aria-label": label });
}

export { add, h, put };
