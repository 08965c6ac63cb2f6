// One adapter: where it stands, who said what about it, and what can be done with it.

import { caller, get, may, post, seg } from "../api.js";
import { h } from "../dom.js";
import * as format from "../format.js";
import { action, badge, code, confirmDialog, exact, facts, field, head, link, section, table } from "../components.js";
import { runIdLink } from "./links.js";

export const DEFAULT_ROUTE = "valign";

export default async function adapterPage({ params, signal, again }) {
  const [{ adapter, history, approvals, replicas }, { routes }] = await Promise.all([
    get(`/v1/adapters/${seg(params.name)}`, { signal }), get("/v1/routes", { signal }),
  ]);
  const serving = routes.filter((route) => route.adapter === adapter.name);
  const trying = routes.filter((route) => route.canary_adapter === adapter.name && route.canary_share > 0);
  return [
    head(adapter.name, {
      above: ["Adapter ", badge(adapter.prune_time ? "pruned" : adapter.state)], below: adapter.reason,
      actions: actions(adapter, approvals, history, routes, again),
    }),
    section("Facts", facts([
      ["Serves", serving.length || trying.length ? [serving.map((route) => [routeLink(route), " "]), trying.map((route) => [routeLink(route), ` (canary, ${format.percent(route.canary_share)}) `])] : "no public name"],
      ["Run", runIdLink(adapter.run_id)], ["Iteration", adapter.iteration], ["Arm", adapter.arm], ["Rank", adapter.rank],
      ["Base model", adapter.base_model], ["Base fingerprint", code(format.hash(adapter.base_fingerprint))],
      ["Manifest's sha256", code(adapter.sha256)], ["Begun by", code(adapter.created_by)], ["Registered", exact(adapter.create_time)],
      ["Approval", adapter.approval_required ? "asked for: somebody other than who began the run" : "not asked for"],
      ["Files removed", adapter.prune_time && exact(adapter.prune_time)],
    ])),
    h("div", { class: "columns" },
      section("Approvals", table("Approvals", [
        { title: "Who", header: true, cell: (one) => code(one.actor) },
        { title: "When", cell: (one) => exact(one.time) },
        { title: "Comment", cell: (one) => one.comment || "–" },
      ], approvals, { empty: adapter.approval_required ? "Nobody has approved it yet." : "None, and none is asked for." })),
      section("On the replicas", table("Where the adapter is loaded", [
        { title: "Replica", header: true, cell: (one) => code(one.target) },
        { title: "State", cell: (one) => badge(one.state) },
        { title: "Attempts", number: true, cell: (one) => one.attempts },
        { title: "Why", cell: (one) => one.reason || "–" },
        { title: "Since", cell: (one) => exact(one.update_time) },
      ], replicas, { empty: "On none that the registry looks after." }))),
    section("History", table("History of the adapter", [
      { title: "No.", number: true, cell: (one) => one.number },
      { title: "When", cell: (one) => exact(one.time) },
      { title: "Became", header: true, cell: (one) => badge(one.state) },
      { title: "By", cell: (one) => code(one.actor) },
      { title: "Why", cell: (one) => one.reason || "–" },
    ], history)),
  ];
}

const routeLink = (route) => link(`#/routes/${seg(route.name)}`, route.name);

function actions(adapter, approvals, history, routes, again) {
  const gone = adapter.prune_time ? "Its files were removed: it can only be trained anew." : adapter.state === "rejected" ? "It is rejected for good." : "";
  const untested = adapter.state === "trained" ? "No generator has proven it yet; its run does that." : "";
  const approved = approvals.some((one) => one.actor !== adapter.created_by);
  const waits = adapter.approval_required && !approved ? `It waits for the approval of somebody other than ${adapter.created_by}.` : "";
  const against = adapter.state !== "candidate" && !history.some((one) => one.state === "promoted");
  const needsAdmin = against && !may("admin") ? `The gate did not let it pass (${adapter.state}): that takes a reason and the scope “admin”.` : "";
  const own = caller.name === adapter.created_by ? `You began its run: somebody else must approve it.` : "";
  const common = { adapter, routes, again };
  return [
    action("Approve…", { scope: "approve", why: gone || own, onclick: () => approve(common) }),
    action("Promote…", { scope: "promote", kind: "primary", why: gone || untested || waits || needsAdmin, onclick: () => promote(common, against) }),
    action("Canary…", { scope: "promote", why: gone || untested || waits || (against ? "Only a candidate can be a canary." : ""), onclick: () => canary(common) }),
    action("Reject…", { scope: "approve", kind: "danger", why: gone, onclick: () => reject(common) }),
  ];
}

const named = (adapter) => (adapter ? `adapter ${adapter}` : "the base model");

/** What a route serves now, in words. */
export function servesNow(route) {
  if (!route) return "nothing was ever set, so the base model";
  return named(route.adapter) + (route.canary_share > 0 ? `, and ${format.percent(route.canary_share)} of its requests ${named(route.canary_adapter)}` : "");
}

function routeField(routes) {
  const input = h("input", { type: "text", value: DEFAULT_ROUTE, list: "routes", autocomplete: "off", required: true, pattern: "[A-Za-z0-9][A-Za-z0-9._\\-]{0,63}" });
  const known = h("datalist", { id: "routes" }, routes.map((route) => h("option", { value: route.name })));
  const effect = h("p", { "aria-live": "polite" });
  const tell = () => { effect.textContent = `“${input.value}” serves now: ${servesNow(routes.find((route) => route.name === input.value))}.`; };
  input.addEventListener("input", tell);
  tell();
  return { input, fields: [field("Public name", input), known, effect] };
}

function approve({ adapter, again }) {
  const comment = h("textarea", { maxlength: 2000 });
  confirmDialog({
    title: "Approve", label: "Approve", fields: [field("Comment", comment, "Kept with your name.")],
    says: [`You, ${caller.name}, say that adapter ${adapter.name} may be promoted. It is not promoted by that.`],
    run: () => post(`/v1/adapters/${seg(adapter.name)}/approve`, { comment: comment.value }), done: again, said: () => "Your approval is recorded.",
  });
}

function reject({ adapter, again }) {
  const reason = h("textarea", { maxlength: 2000, required: true });
  confirmDialog({
    title: "Reject", label: "Reject for good", danger: true, fields: [field("What is wrong with it", reason)],
    says: [`Adapter ${adapter.name} can then never be promoted, by nobody. This cannot be taken back.`],
    run: () => post(`/v1/adapters/${seg(adapter.name)}/reject`, { reason: reason.value }), done: again, said: () => "The adapter is rejected.",
  });
}

function promote({ adapter, routes, again }, against) {
  const route = routeField(routes);
  const reason = h("textarea", { maxlength: 2000, required: true });
  confirmDialog({
    title: "Promote", label: "Promote", danger: against,
    says: [
      `Every request to the public name is then answered by adapter ${adapter.name}, as soon as every replica has loaded and proven it. If one cannot, nothing changes.`,
      "Requests in flight end with the adapter that they began with. A canary of the name ends. It can be rolled back.",
      against ? `The gate did not let this adapter pass: ${adapter.reason || adapter.state}` : null,
    ].filter(Boolean),
    fields: [route.fields, against ? field("Why it is promoted against the gate", reason, "Kept in the audit log with your name.") : null],
    run: () => post(`/v1/adapters/${seg(adapter.name)}/promote`, { route: route.input.value, override_reason: against ? reason.value : "" }),
    done: again, said: (now) => `“${now.name}” serves ${adapter.name}: ${now.state}.`,
  });
}

function canary({ adapter, routes, again }) {
  const route = routeField(routes);
  const share = shareField(0.1);
  confirmDialog({
    title: "Canary", label: "Set the canary",
    says: [`The share of the public name's requests below goes to adapter ${adapter.name}; the rest to what the name serves now.`],
    fields: [route.fields, share.field],
    run: () => post(`/v1/routes/${seg(route.input.value)}/canary`, { adapter: adapter.name, share: share.value() }),
    done: again, said: (now) => `${format.percent(now.canary_share)} of “${now.name}” go to ${adapter.name}.`,
  });
}

/** A slider of a share from 1 to 100 %, with its value said. */
export function shareField(begin) {
  const output = h("output", null, format.percent(begin));
  const input = h("input", { type: "range", min: 1, max: 100, step: 1, value: Math.round(100 * begin), "aria-valuetext": format.percent(begin), oninput: () => {
    output.textContent = format.percent(input.value / 100);
    input.setAttribute("aria-valuetext", output.textContent);
  } });
  const box = field("Share of the requests", input);
  box.append(" ", output);
  return { field: box, value: () => Number(input.value) / 100 };
}
