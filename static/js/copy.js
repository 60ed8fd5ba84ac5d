import { $, onClick } from "./dom.js";
import { announce, showToast } from "./messages.js";

// Copy: data-copy="#id" takes that element's text, data-copy-text its own value
async function copyText(text) {
  if (navigator.clipboard && window.isSecureContext) return navigator.clipboard.writeText(text);
  const area = Object.assign(document.createElement("textarea"), {
    value: text,
    readOnly: true,
    className: "visually-hidden",
  });
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
