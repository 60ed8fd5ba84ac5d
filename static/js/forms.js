import { $, on, onClick } from "./dom.js";
import { announce } from "./messages.js";

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

// Data picker: [data-insert] puts its path into the [data-insertable] field that had the focus last
let insertable = null;
on("focusin", (event) => {
  if (event.target.matches("[data-insertable]")) insertable = event.target;
});

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

// Disclosure: [data-toggle] shows or hides the element it names, [data-wrap] wraps the lines of its code block
onClick("[data-toggle]", (button, event) => {
  event.preventDefault();
  const shown = $(button.dataset.toggle)?.toggleAttribute("hidden") === false;
  button.setAttribute("aria-expanded", String(shown));
});

onClick("[data-wrap]", (button) =>
  button.setAttribute("aria-pressed", String(button.getAttribute("aria-pressed") !== "true")),
);
