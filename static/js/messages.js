import { $, $$, isPoll, on, onClick } from "./dom.js";

// Speech and toasts
export function announce(text) {
  const region = $("dialog[open] [data-announce]") ?? $("#announce");
  if (!region) return;
  region.textContent = "";
  requestAnimationFrame(() => {
    region.textContent = text;
  });
}

const TOAST_MS = 6000;
export function watchToast(toast) {
  if (toast.dataset.level === "error" || toast.dataset.watched) return; // errors stay until dismissed
  toast.dataset.watched = "true";
  let timer;
  const start = () => {
    timer = setTimeout(() => toast.remove(), TOAST_MS);
  };
  const stop = () => clearTimeout(timer);
  for (const name of ["pointerenter", "focusin"]) toast.addEventListener(name, stop);
  for (const name of ["pointerleave", "focusout"]) toast.addEventListener(name, start);
  start();
}

export function showToast(text, level = "info") {
  const icon = { success: "circle-check", warning: "triangle-alert", error: "circle-alert" }[level] ?? "info";
  const toast = $("#toast-template").content.firstElementChild.cloneNode(true);
  toast.dataset.level = level;
  toast.setAttribute("role", level === "error" ? "alert" : "status");
  const use = $("use", toast);
  use.setAttribute("href", use.getAttribute("href").replace(/#.*/, `#${icon}`));
  $("p", toast).textContent = text;
  const region = $("#toasts");
  const dialog = $("dialog[open]"); // whatever is outside of it can be neither seen nor read out
  if (dialog && !dialog.contains(region)) dialog.append(region);
  region.append(toast);
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
  if (detail.ctx && !isPoll(detail.ctx))
    showToast("The server could not be reached. Check the connection and try again.", "error");
});

$$("[data-toast]").forEach(watchToast);
