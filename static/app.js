// Behaviour by data attribute, delegated on the document: what htmx swaps in needs no set-up. docs/interface.md lists them.
const $ = (selector, root = document) => root.querySelector(selector);
const $$ = (selector, root = document) => [...root.querySelectorAll(selector)];
const on = (name, act, options) => document.addEventListener(name, act, options);
const onClick = (selector, act) => on("click", (event) => {
  const found = event.target.closest?.(selector);
  if (found) act(found, event);
});
const stored = {
  get: (key) => { try { return localStorage.getItem(key); } catch { return null; } },
  set: (key, value) => { try { localStorage.setItem(key, value); } catch { /* private windows forget */ } },
};

// Speech and toasts
function announce(text) {
  const region = $("dialog[open] [data-announce]") ?? $("#announce");
  if (!region) return;
  region.textContent = "";
  requestAnimationFrame(() => { region.textContent = text; });
}

const TOAST_MS = 6000;
function watchToast(toast) {
  if (toast.dataset.level === "error" || toast.dataset.watched) return; // errors stay until dismissed
  toast.dataset.watched = "true";
  let timer;
  const start = () => { timer = setTimeout(() => toast.remove(), TOAST_MS); };
  const stop = () => clearTimeout(timer);
  for (const name of ["pointerenter", "focusin"]) toast.addEventListener(name, stop);
  for (const name of ["pointerleave", "focusout"]) toast.addEventListener(name, start);
  start();
}

function showToast(text, level = "info") {
  const icon = { success: "circle-check", warning: "triangle-alert", error: "circle-alert" }[level] ?? "info";
  const toast = $("#toast-template").content.firstElementChild.cloneNode(true);
  toast.dataset.level = level;
  toast.setAttribute("role", level === "error" ? "alert" : "status");
  const use = $("use", toast);
  use.setAttribute("href", use.getAttribute("href").replace(/#.*/, `#${icon}`));
  $("p", toast).textContent = text;
  $("#toasts").append(toast);
  watchToast(toast);
}

onClick("[data-dismiss]", (button) => button.closest("[data-toast], .alert")?.remove());
// The server answers `HX-Trigger: {"toast": {"text": "...", "level": "success"}}`.
on("toast", (event) => showToast(event.detail.text ?? event.detail.value, event.detail.level));
on("htmx:response:error", ({ detail }) => {
  const status = detail.ctx?.response?.status;
  if (status >= 500 && !isPoll(detail.ctx)) showToast("The server could not do that. Try again in a moment.", "error");
});
on("htmx:error", ({ detail }) => {
  if (detail.ctx && !isPoll(detail.ctx)) showToast("The server could not be reached. Check the connection and try again.", "error");
});

// Copy: data-copy="#id" takes that element's text, data-copy-text its own value
async function copyText(text) {
  if (navigator.clipboard && window.isSecureContext) return navigator.clipboard.writeText(text);
  const area = Object.assign(document.createElement("textarea"), { value: text, readOnly: true, className: "visually-hidden" });
  ($("dialog[open]") ?? document.body).append(area); // outside an open modal nothing can be selected
  area.select();
  const copied = document.execCommand("copy");
  area.remove();
  if (!copied) throw new Error("copy refused");
}

function sayOn(button, word) {
  const label = $("[data-label]", button) ?? $("span", button);
  button.dataset.said = word;
  if (label && !label.dataset.word) label.dataset.word = label.textContent;
  if (label) label.textContent = word;
  clearTimeout(button.sayTimer);
  button.sayTimer = setTimeout(() => {
    delete button.dataset.said;
    if (label) label.textContent = label.dataset.word;
  }, 2000);
}

onClick("[data-copy], [data-copy-text]", async (button, event) => {
  event.preventDefault();
  const source = button.dataset.copy ? $(button.dataset.copy) : null;
  try {
    await copyText(button.dataset.copyText ?? source?.value ?? source?.textContent ?? "");
    sayOn(button, "Copied");
    announce("Copied");
  } catch {
    sayOn(button, "Not copied");
    announce("Copying failed. Select the text and copy it by hand.");
    showToast("The browser did not allow copying. Select the text and copy it by hand.", "error");
  } finally {
    button.focus();
  }
});

onClick("[data-toggle]", (button, event) => { // shows or hides the element it names
  event.preventDefault();
  const shown = $(button.dataset.toggle)?.toggleAttribute("hidden") === false;
  button.setAttribute("aria-expanded", String(shown));
});
onClick("[data-wrap]", (button) => button.setAttribute("aria-pressed", String(button.getAttribute("aria-pressed") !== "true")));

// Dialogs
const dialog = $("#dialog");
let pushed = 0; // addresses the open dialog has put into the history
let wasPushed = false;

function closeDialog(element) { if (element?.open) element.close(); }

onClick("[data-close]", (button) => closeDialog(button.closest("dialog")));
onClick("[data-open]", (button) => {
  button.closest("[popover]")?.hidePopover?.();
  const target = $(button.dataset.open);
  if (target && !target.open) target.showModal();
});
on("click", (event) => {
  if (event.target.matches?.("dialog.dialog[open]:not([role='alertdialog'])") && event.target === event.target.closest("dialog")) {
    const box = event.target.getBoundingClientRect();
    const inside = event.clientX >= box.left && event.clientX <= box.right && event.clientY >= box.top && event.clientY <= box.bottom;
    if (!inside && event.detail > 0) closeDialog(event.target);
  }
});
on("htmx:after:history:push", () => { wasPushed = true; });
on("htmx:before:swap", () => { wasPushed = false; });
on("htmx:after:swap", ({ detail }) => {
  const target = detail.ctx?.target;
  if (dialog && target?.id === "dialog-body" && target.textContent.trim()) {
    if (wasPushed) pushed += 1;
    if (!dialog.open) dialog.showModal();
    $("[data-focus]", dialog)?.scrollIntoView({ block: "center" });
  }
  $$("[data-toast]").forEach(watchToast);
});
dialog?.addEventListener("close", () => {
  $("#dialog-body").replaceChildren();
  if (pushed) history.go(-pushed); // htmx:before:history:restore below keeps the page as it is
});
on("htmx:before:history:restore", (event) => {
  if (!pushed) return;
  event.preventDefault();
  pushed = 0;
  closeDialog(dialog);
});

// Confirmation: data-confirm="what happens" [data-confirm-title] [data-confirm-button] on a form, button or link
let confirmed = null;
function ask(element) {
  const box = $("#confirm");
  $("#confirm-title").textContent = element.dataset.confirmTitle ?? "Are you sure?";
  $("#confirm-text").textContent = element.dataset.confirm || element.getAttribute("hx-confirm") || "";
  const button = $("[value=confirm]", box);
  button.textContent = element.dataset.confirmButton ?? "Confirm";
  button.classList.toggle("btn-danger", element.dataset.confirmKind !== "plain");
  button.classList.toggle("btn-primary", element.dataset.confirmKind === "plain");
  box.returnValue = "cancel";
  box.showModal();
  return new Promise((resolve) => box.addEventListener("close", () => resolve(box.returnValue === "confirm"), { once: true }));
}
on("htmx:confirm", async (event) => {
  event.preventDefault();
  const { ctx, issueRequest, dropRequest } = event.detail;
  if (await ask(ctx.sourceElement)) issueRequest(); else dropRequest();
});
on("submit", async (event) => {
  const asking = event.submitter?.closest("[data-confirm]") ?? event.target.closest("form[data-confirm]");
  if (!asking || asking.hasAttribute("hx-confirm") || confirmed === event.target) return;
  event.preventDefault();
  event.stopImmediatePropagation();
  const submitter = event.submitter;
  if (!(await ask(asking))) return;
  confirmed = event.target;
  event.target.requestSubmit(submitter);
  confirmed = null;
}, { capture: true });

// Theme: a cookie, which the server writes into the page; the admin reads localStorage
function setTheme(theme) {
  const root = document.documentElement;
  if (theme === "auto") root.removeAttribute("data-theme"); else root.dataset.theme = theme;
  const age = theme === "auto" ? 0 : 31536000;
  document.cookie = `agentos_theme=${theme}; path=/; max-age=${age}; samesite=lax`;
  stored.set("theme", theme);
}
const themeSwitch = $("[data-theme-switch]");
if (themeSwitch) {
  themeSwitch.hidden = false;
  const current = $(`[value="${document.documentElement.dataset.theme ?? "auto"}"]`, themeSwitch);
  if (current) current.checked = true;
  themeSwitch.addEventListener("change", (event) => setTheme(event.target.value));
}

// Filters: <form data-auto-submit> submits itself when a choice changes, and text 400 ms after the last key
let typing;
function submitFilters(form) {
  for (const field of form.elements) if (field.name && !field.value && !field.disabled) field.disabled = true; // no empty values in the URL
  form.requestSubmit();
  for (const field of form.elements) field.disabled = false;
}
on("change", (event) => {
  const form = event.target.form?.closest("[data-auto-submit]");
  if (form && !event.target.matches("[type=search], [type=text]")) submitFilters(form);
});
on("input", (event) => {
  const form = event.target.form?.closest("[data-auto-submit]");
  if (!form || !event.target.matches("[type=search], [type=text]")) return;
  clearTimeout(typing);
  typing = setTimeout(() => submitFilters(form), 400);
});

// Live table: one timer asks what changed of the rows shown; the server answers partials that morph rows in place
const LIVE_MS = 2000;
const IDLE_STEPS = [2000, 3000, 5000, 10000];
let quiet = 0;
let paused = stored.get("agentos-live") === "paused";
let pointerDown = false;
let liveTimer;
const isPoll = (ctx) => Boolean(ctx?.poll);

function liveRows(live) {
  return $$("[id][data-rev]", live).map((row) => `${row.id.slice(row.id.indexOf("-") + 1)}:${row.dataset.rev}`).join(",");
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
  const watch = (event) => { if (event.detail.ctx?.poll) changed = event.detail.ctx.response?.status === 200; };
  on("htmx:after:request", watch);
  try {
    await window.htmx.ajax("GET", url.pathname + url.search, { source: live, target: live, swap: "none", poll: true, push: null });
  } catch { /* the next round tries again */ } finally {
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
onClick("[data-live-pause]", () => setPaused(!paused));
on("pointerdown", () => { pointerDown = true; quiet = 0; });
for (const name of ["pointerup", "pointercancel", "dragend"]) on(name, () => { pointerDown = false; });
on("visibilitychange", () => { if (!document.hidden) { quiet = 0; schedule(50); } });
on("keydown", () => { quiet = 0; });
on("htmx:after:swap", ({ detail }) => { showPaused(); if (!isPoll(detail.ctx)) schedule(); });

// Data picker: [data-insert] puts its path into the [data-insertable] field that had the focus last
let insertable = null;
on("focusin", (event) => { if (event.target.matches("[data-insertable]")) insertable = event.target; });
onClick("[data-insert]", (button) => {
  if (!insertable?.isConnected) insertable = $("[data-insertable]:placeholder-shown") ?? $("[data-insertable]");
  if (!insertable) return;
  const field = insertable;
  const path = button.dataset.insert;
  if (field.dataset.insertable === "path") field.value = path;
  else field.setRangeText(`{{ ${path} }}`, field.selectionStart, field.selectionEnd, "end");
  field.focus();
  field.dispatchEvent(new Event("input", { bubbles: true }));
  announce(`Inserted ${path}`);
});

// Keyboard. Single keys never fire while typing, with a modifier, or when switched off (WCAG 2.1.4)
let keysOn = stored.get("agentos-keys") !== "off";
const keySwitch = $("[data-shortcuts-switch]");
if (keySwitch) {
  keySwitch.checked = keysOn;
  keySwitch.addEventListener("change", () => { keysOn = keySwitch.checked; stored.set("agentos-keys", keysOn ? "on" : "off"); });
}
function moveRow(step) {
  const links = $$("main .row-link");
  if (!links.length) return;
  const at = links.findIndex((link) => link.closest("tr")?.contains(document.activeElement));
  const next = at < 0 ? (step > 0 ? 0 : links.length - 1) : Math.min(Math.max(at + step, 0), links.length - 1);
  links[next].focus();
}
const KEYS = {
  "/": () => $("[data-search], .filters input[type=search], .filters input, .filters select")?.focus(),
  j: () => moveRow(1),
  k: () => moveRow(-1),
  r: () => { if ($("[data-live-pause]")) setPaused(!paused); },
  "?": () => $("#shortcuts")?.showModal(),
};
on("keydown", (event) => {
  const key = event.key.length === 1 ? event.key.toLowerCase() : event.key;
  if (!keysOn || !KEYS[key] || event.ctrlKey || event.metaKey || event.altKey || event.isComposing) return;
  if (event.target.closest?.("input, textarea, select, [contenteditable]") || $("dialog[open]")) return;
  event.preventDefault();
  KEYS[key]();
});

// Invoker commands for browsers that lack them: command="show-modal" commandfor="id"
if (!("command" in HTMLButtonElement.prototype)) {
  onClick("button[commandfor]", (button) => {
    const target = document.getElementById(button.getAttribute("commandfor"));
    const act = { "show-modal": "showModal", close: "close", "show-popover": "showPopover", "hide-popover": "hidePopover", "toggle-popover": "togglePopover" }[button.getAttribute("command")];
    if (act) target?.[act]?.();
  });
}

$$("[data-toast]").forEach(watchToast);
showPaused();
schedule();
