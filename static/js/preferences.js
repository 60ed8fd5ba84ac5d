import { $, $$, on, stored } from "./dom.js";
import { togglePaused } from "./live.js";

// Theme: a cookie, which the server writes into the page; the admin reads localStorage
function setTheme(theme) {
  const root = document.documentElement;
  if (theme === "auto") root.removeAttribute("data-theme");
  else root.dataset.theme = theme;
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

// Keyboard. Single keys never fire while typing, with a modifier, or when switched off (WCAG 2.1.4)
let keysOn = stored.get("agentos-keys") !== "off";
const keySwitch = $("[data-shortcuts-switch]");
if (keySwitch) {
  keySwitch.checked = keysOn;
  keySwitch.addEventListener("change", () => {
    keysOn = keySwitch.checked;
    stored.set("agentos-keys", keysOn ? "on" : "off");
  });
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
  r: () => {
    if ($("[data-live-pause]")) togglePaused();
  },
  "?": () => $("#shortcuts")?.showModal(),
};

on("keydown", (event) => {
  const key = event.key.length === 1 ? event.key.toLowerCase() : event.key;
  if (!keysOn || !KEYS[key] || event.ctrlKey || event.metaKey || event.altKey || event.isComposing) return;
  if (event.target.closest?.("input, textarea, select, [contenteditable]") || $("dialog[open]")) return;
  event.preventDefault();
  KEYS[key]();
});
