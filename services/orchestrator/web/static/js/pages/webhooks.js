// Webhooks: who is told of events, and how the deliveries went.

import { call, query, seg } from "../api.js";
import { h } from "../dom.js";
import * as format from "../format.js";
import { action, badge, code, confirmDialog, exact, facts, field, head, link, paged, section, select, stamp, table } from "../components.js";

const STATES = ["", "pending", "delivered", "dead"];

export default async function webhooksPage(context) {
  return context.params.id === undefined ? list(context) : one(context);
}

function list({ signal, again }) {
  return [
    head("Webhooks", { below: "Addresses that are told of events, each delivery signed.", actions: [action("New webhook…", { scope: "admin", kind: "primary", onclick: () => create(again) })] }),
    section("Addresses", paged(
      async (token) => {
        const page = await call("listWebhooks", {}, { search: { page_size: 50, page_token: token }, signal });
        return { rows: page.webhooks, next: page.next_page_token };
      },
      (rows) => table("Webhooks", [
        { title: "Address", header: true, cell: (hook) => [link(`#/webhooks/${seg(hook.webhook_id)}`, hook.url), hook.description && h("div", { class: "small muted" }, hook.description)] },
        { title: "State", cell: (hook) => [badge(hook.state), hook.state_reason && h("div", { class: "small muted" }, hook.state_reason)] },
        { title: "Events", cell: (hook) => hook.event_types.join(", ") },
        { title: "Waiting", number: true, cell: (hook) => format.whole(hook.pending) },
        { title: "Dead letters", number: true, cell: (hook) => format.whole(hook.dead) },
        { title: "Last success", cell: (hook) => stamp(hook.last_success_time) },
      ], rows, { empty: "Nobody is told of anything." }))),
  ];
}

function create(again) {
  const url = h("input", { type: "text", required: true, placeholder: "https://…" });
  const types = h("input", { type: "text", value: "*", required: true });
  const description = h("input", { type: "text", maxlength: 500 });
  confirmDialog({
    title: "New webhook", label: "Make it",
    says: ["From now on every event of these kinds is sent to the address. The secret that signs them is shown once."],
    fields: [field("Address", url), field("Events", types, "Names or patterns, with commas: run.*, adapter.promoted"), field("What it is for", description)],
    run: () => call("createWebhook", {}, { json: { url: url.value.trim(), event_types: types.value.split(",").map((one) => one.trim()).filter(Boolean), description: description.value } }),
    done: (made) => { again(); showSecret(made.secret); }, said: () => "The webhook was made.",
  });
}

function showSecret(secret) {
  const shown = h("input", { type: "text", value: secret, readOnly: true });
  confirmDialog({ title: "Its secret", label: "I have kept it", says: ["It signs every delivery, and cannot be shown again."], fields: [field("Secret", shown)], run: async () => null, done: () => {}, said: () => "" });
}

async function one({ params, query: asked, signal, again }) {
  const id = { webhook_id: params.id };
  const answer = await call("getWebhook", id, { signal });
  const hook = answer.webhook ?? answer;
  const state = STATES.includes(asked.get("state")) ? asked.get("state") : "";
  const does = (label, says, run, said, more = {}) => action(label, { scope: "admin", ...more, onclick: () => confirmDialog({ title: label.replace("…", ""), label: label.replace("…", ""), says, run, done: again, said }) });
  const paused = hook.state !== "active";
  return [
    head(hook.url, { above: ["Webhook ", badge(hook.state)], below: hook.state_reason || hook.description, actions: [
      does("Send a test…", ["An event “webhook.test” is sent to the address, signed like any other."], () => call("testWebhook", id), () => "The test waits to be sent."),
      does(paused ? "Make active…" : "Pause…", [paused ? "Events are sent again, those that wait first." : "Events wait until it is active again."], () => call("updateWebhook", id, { json: { paused: !paused } }), () => "Changed."),
      does("Replay dead letters…", [`All ${format.whole(hook.dead)} dead letters are sent once more, under the same event ids.`], () => call("replayWebhookDeliveries", id, { json: {} }), (found) => `${found.replayed} wait to be sent again.`, { why: Number(hook.dead) ? "" : "There are none." }),
    ] }),
    section("Facts", facts([["Id", code(hook.webhook_id)], ["Events", hook.event_types.join(", ")], ["Made by", code(hook.create_by)], ["Made", exact(hook.create_time)], ["Waiting", format.whole(hook.pending)], ["Dead letters", format.whole(hook.dead)], ["Last success", stamp(hook.last_success_time)]])),
    section("Deliveries",
      h("div", { class: "filters" }, field("State", select(STATES.map((name) => [name, name ? format.word(name) : "All"]), state, (value) => { location.hash = `#/webhooks/${seg(params.id)}${query({ state: value })}`; }))),
      paged(async (token) => {
        const page = await call("listWebhookDeliveries", id, { search: { state, page_size: 50, page_token: token }, signal });
        return { rows: page.deliveries, next: page.next_page_token };
      }, (rows) => table("Deliveries, newest first", [
        { title: "No.", number: true, cell: (delivery) => delivery.number },
        { title: "Event", header: true, cell: (delivery) => [delivery.event_type, h("div", { class: "small muted" }, delivery.subject)] },
        { title: "State", cell: (delivery) => badge(delivery.state) },
        { title: "Attempts", number: true, cell: (delivery) => delivery.attempts },
        { title: "Last answer", cell: (delivery) => [delivery.last_status || "–", delivery.last_error && h("div", { class: "small muted" }, delivery.last_error)] },
        { title: "Happened", cell: (delivery) => exact(delivery.event_time) },
        { title: "Next try", cell: (delivery) => exact(delivery.next_attempt_time) },
      ], rows, { empty: "No delivery." }))),
  ];
}
