// Public names: what they serve, on which replicas, and what they served before.

import { get, post, seg } from "../api.js";
import { h } from "../dom.js";
import * as format from "../format.js";
import { action, badge, code, confirmDialog, exact, facts, field, head, link, section, select, stamp, table } from "../components.js";
import { adapterLink } from "./links.js";
import { servesNow, shareField } from "./adapter.js";

export default async function routesPage(context) {
  return context.params.name === undefined ? list(context) : one(context);
}

async function list({ signal }) {
  const { routes } = await get("/v1/routes", { signal });
  return [
    head("Routes", { below: "The public names that callers of the model use, and what answers under them." }),
    section("Names", table("Routes", [
      { title: "Name", header: true, cell: (route) => link(`#/routes/${seg(route.name)}`, route.name) },
      { title: "Serves", cell: (route) => adapterLink(route.adapter) },
      { title: "Canary", cell: (route) => (route.canary_share > 0 ? [format.percent(route.canary_share), " ", adapterLink(route.canary_adapter)] : "–") },
      { title: "State", cell: (route) => [badge(route.state), route.reason ? h("div", { class: "small muted" }, route.reason) : null] },
      { title: "Version", number: true, cell: (route) => route.version },
      { title: "Changed by", cell: (route) => code(route.update_by) },
      { title: "Changed", cell: (route) => stamp(route.update_time) },
    ], routes, { empty: "None was ever set: promote an adapter, and its name is here." })),
  ];
}

async function one({ params, signal, again }) {
  const { route, history } = await get(`/v1/routes/${seg(params.name)}`, { signal });
  return [
    head(route.name, {
      above: ["Route ", badge(route.state)], below: route.reason,
      actions: [
        action("Roll back…", { scope: "promote", kind: "danger", onclick: () => rollBack(route, history, again) }),
        action("Change the share…", { scope: "promote", why: route.canary_share > 0 ? "" : "There is no canary.", onclick: () => share(route, again) }),
        action("End the canary…", { scope: "promote", why: route.canary_share > 0 ? "" : "There is no canary.", onclick: () => endCanary(route, again) }),
      ],
    }),
    section("Now", facts([
      ["Serves", adapterLink(route.adapter)],
      ["Canary", route.canary_share > 0 ? [format.percent(route.canary_share), " of the requests: ", adapterLink(route.canary_adapter)] : "none"],
      ["Version", route.version], ["Changed by", code(route.update_by)], ["Changed", exact(route.update_time)],
    ])),
    section("Replicas", table("Replicas of the route", [
      { title: "Replica", header: true, cell: (replica) => code(replica.target) },
      { title: "State", cell: (replica) => badge(!replica.serving ? "away" : replica.version === route.version ? "settled" : "pending") },
      { title: "Serves version", number: true, cell: (replica) => replica.version || "none" },
      { title: "Seen", cell: (replica) => stamp(replica.seen_time) },
      { title: "What is wrong", cell: (replica) => replica.error || "–" },
    ], route.replicas)),
    section("History", table("What the route served, newest first", [
      { title: "Version", number: true, cell: (entry) => entry.version },
      { title: "When", cell: (entry) => exact(entry.time) },
      { title: "Served", header: true, cell: (entry) => adapterLink(entry.adapter) },
      { title: "Canary", cell: (entry) => (entry.canary_share > 0 ? [format.percent(entry.canary_share), " ", adapterLink(entry.canary_adapter)] : "–") },
      { title: "By", cell: (entry) => code(entry.actor) },
      { title: "Why", cell: (entry) => entry.reason || "–" },
    ], history)),
  ];
}

const BEFORE = "before";
const BASE = "base";

function rollBack(route, history, again) {
  const earlier = [...new Set(history.map((entry) => entry.adapter))].filter((name) => name && name !== route.adapter);
  const to = select([[BEFORE, "What it served before"], ...earlier.map((name) => [`adapter ${name}`, name]), ...(route.adapter ? [[BASE, "The base model"]] : [])], BEFORE);
  const reason = h("textarea", { maxlength: 2000 });
  confirmDialog({
    title: `Roll back ${route.name}`, label: "Roll back", danger: true,
    says: [`“${route.name}” serves now: ${servesNow(route)}. Every new request to it is then answered by what is chosen below; a canary ends.`, "Requests in flight end with the adapter that they began with."],
    fields: [field("Back to", to), field("Why", reason)],
    run: () => post(`/v1/routes/${seg(route.name)}/rollback`, { to: to.value === BEFORE ? null : to.value === BASE ? "" : to.value.slice("adapter ".length), reason: reason.value }),
    done: again, said: (now) => `“${now.name}” serves ${now.adapter || "the base model"}: ${now.state}.`,
  });
}

function share(route, again) {
  const chosen = shareField(route.canary_share);
  confirmDialog({
    title: "Change the canary's share", label: "Change the share", fields: [chosen.field],
    says: [`The share below of the requests to “${route.name}” goes to adapter ${route.canary_adapter}; the rest to ${route.adapter || "the base model"}.`],
    run: () => post(`/v1/routes/${seg(route.name)}/canary`, { adapter: route.canary_adapter, share: chosen.value() }),
    done: again, said: (now) => `${format.percent(now.canary_share)} of “${now.name}” go to the canary.`,
  });
}

function endCanary(route, again) {
  confirmDialog({
    title: "End the canary", label: "End the canary",
    says: [`Every request to “${route.name}” is then answered by ${route.adapter || "the base model"}, and none by adapter ${route.canary_adapter}.`],
    run: () => post(`/v1/routes/${seg(route.name)}/canary`, { share: 0 }),
    done: again, said: () => "The canary has ended.",
  });
}
