// Runs in the sandboxed frame alone: takes one document from the page around it and becomes that document.
// The frame has no origin, no network and no other script: its Content-Security-Policy sees to that.
"use strict";

addEventListener("message", (event) => {
  if (event.source !== parent || typeof event.data?.document !== "string") return;
  const found = new DOMParser().parseFromString(event.data.document, "text/html");
  document.replaceChild(document.adoptNode(found.documentElement), document.documentElement);
});
parent.postMessage("valign-frame-ready", "*");
