import { $, $$, isPoll, on, onClick, stored } from "./dom.js";
import { announce } from "./messages.js";

// Live table: one timer asks what changed of the rows shown; the server answers partials that morph rows in place
const LIVE_MS = 2000;
const IDLE_STEPS = [2000, 3000, 5000, 10000];
let quiet = 0;
let paused = stored.get("agentos-live") === "paused";
let pointerDown = false;
let liveTimer;

function liveRows(live) {
  return $$("[id][data-rev]", live)
    .map((row) => `${row.id.slice(row.id.indexOf("-") + 1)}:${row.dataset.rev}`)
    .join(",");
}

function schedule(wait = IDLE_STEPS[Math.min(Math.floor(quiet / 15), IDLE_STEPS.length - 1)]) {
  clearTimeout(liveTimer);
  if ($("[data-live]")) liveTimer = setTimeout(poll, wait);
}

async function poll() {
  const live = $("[data-live]");
  if (!live || !window.htmx) return;
  if (document.hidden) return; // visibilitychange starts it again
  if (paused || pointerDown || $("dialog[open]#confirm")) return schedule(LIVE_MS);
  const url = new URL(live.dataset.liveUrl ?? location.href, location.href);
  url.searchParams.set("rows", liveRows(live));
  let changed = false;
  const watch = (event) => {
    if (event.detail.ctx?.poll) changed = event.detail.ctx.response?.status === 200;
  };
  on("htmx:after:request", watch);
  try {
    await window.htmx.ajax("GET", url.pathname + url.search, {
      source: live,
      target: live,
      swap: "none",
      poll: true,
      push: null,
    });
  } catch {
    /* the next round tries again */
  } finally {
    document.removeEventListener("htmx:after:request", watch);
  }
  quiet = changed ? 0 : quiet + 1;
  schedule();
}

function showPaused() {
  for (const button of $$("[data-live-pause]")) {
    button.setAttribute("aria-pressed", String(paused));
    const label = $("[data-label]", button) ?? $("span:not(.dot)", button);
    if (label) label.textContent = paused ? "Paused" : "Live";
  }
}

function setPaused(value) {
  paused = value;
  stored.set("agentos-live", paused ? "paused" : "on");
  showPaused();
  announce(paused ? "Live updates paused" : "Live updates on");
  quiet = 0;
  schedule(paused ? LIVE_MS : 50);
}

export const togglePaused = () => setPaused(!paused);
onClick("[data-live-pause]", togglePaused);
on("pointerdown", () => {
  pointerDown = true;
  quiet = 0;
});

for (const name of ["pointerup", "pointercancel", "dragend"])
  on(name, () => {
    pointerDown = false;
  });
on("visibilitychange", () => {
  if (!document.hidden) {
    quiet = 0;
    schedule(50);
  }
});

on("keydown", () => {
  quiet = 0;
});

on("htmx:after:swap", ({ detail }) => {
  showPaused();
  if (!isPoll(detail.ctx)) schedule();
});

showPaused();
schedule();
