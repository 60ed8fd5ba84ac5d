import { $, $$, isPoll, LIVE_PART, on, onClick, stored } from "./dom.js";
import { announce } from "./messages.js";

// Live pages: one timer asks what changed of the rows shown, and lets each live part ask for itself; the server answers
// partials that morph in place. A page in which nothing happens, or that nobody touches, asks less and less often.
const LIVE_MS = 2000;
const LONGEST_MS = 30_000;
const QUIET_ROUNDS = 30; // rounds without news until the wait doubles; each further 10 double it again
const ABSENT = [
  { after: 5 * 60_000, wait: LONGEST_MS },
  { after: 2 * 60_000, wait: 8000 },
]; // in ms, since somebody moved pointer or key: the wait then, news or not
let quiet = 0;
let movedAt = Date.now();
let askAgainMs = 0; // the server's wish
let paused = stored.get("agentos-live") === "paused";
let pointerDown = false;
let liveTimer;
let waiting = LIVE_MS;

function liveRows(live) {
  return $$("[id][data-rev]", live)
    .map((row) => `${row.id.slice(row.id.indexOf("-") + 1)}:${row.dataset.rev}`)
    .join(",");
}

function wait() {
  const doubled = LIVE_MS * 2 ** Math.max(0, Math.ceil((quiet - QUIET_ROUNDS) / 10));
  const absent = ABSENT.find(({ after }) => Date.now() - movedAt > after)?.wait ?? 0;
  return Math.min(LONGEST_MS, Math.max(doubled, absent, askAgainMs));
}

function schedule(ms = wait()) {
  clearTimeout(liveTimer);
  waiting = ms;
  if ($(`[data-live], ${LIVE_PART}`)) liveTimer = setTimeout(poll, ms);
}

async function poll() {
  if (!window.htmx) return;
  if (document.hidden) return; // visibilitychange starts it again
  quiet += 1;
  for (const part of $$(LIVE_PART)) part.dispatchEvent(new CustomEvent("live"));
  const live = $("[data-live]");
  if (live && !paused && !pointerDown && !$("dialog[open]#confirm")) await pollRows(live);
  schedule();
}

async function pollRows(live) {
  const url = new URL(live.dataset.liveUrl ?? location.href, location.href);
  url.searchParams.set("rows", liveRows(live));
  url.searchParams.set("told", $("[data-told]", live)?.dataset.told ?? "0");
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
  }
}

on("htmx:after:request", ({ detail }) => {
  if (!isPoll(detail.ctx)) return;
  const { status, headers } = detail.ctx.response ?? {};
  askAgainMs = 1000 * (Number(headers?.get("Retry-After")) || 0);
  if (status === 200) {
    quiet = 0;
    schedule();
  }
});

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

function attend() {
  quiet = 0;
  movedAt = Date.now();
  if (waiting > Math.max(LIVE_MS, askAgainMs)) schedule(50);
}

for (const name of ["pointerdown", "pointermove", "keydown", "wheel"]) on(name, attend, { passive: true });
on("pointerdown", () => {
  pointerDown = true;
});

for (const name of ["pointerup", "pointercancel", "dragend"])
  on(name, () => {
    pointerDown = false;
  });
on("visibilitychange", () => {
  if (!document.hidden) {
    quiet = 0;
    movedAt = Date.now();
    schedule(50);
  }
});

on("htmx:after:swap", ({ detail }) => {
  showPaused();
  if (!isPoll(detail.ctx)) schedule();
});

showPaused();
schedule();
