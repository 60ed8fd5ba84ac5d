import { $, $$, on, onClick } from "./dom.js";
import { watchToast } from "./messages.js";

// Dialogs
const dialog = $("#dialog");
let pushed = 0; // addresses the open dialog has put into the history
let wasPushed = false;

function closeDialog(element) {
  if (element?.open) element.close();
}

onClick("[data-close]", (button) => closeDialog(button.closest("dialog")));
onClick("[data-open]", (button) => {
  button.closest("[popover]")?.hidePopover?.();
  const target = $(button.dataset.open);
  if (target && !target.open) target.showModal();
});

on("click", (event) => {
  if (
    event.target.matches?.("dialog.dialog[open]:not([role='alertdialog'])") &&
    event.target === event.target.closest("dialog")
  ) {
    const box = event.target.getBoundingClientRect();
    const inside =
      event.clientX >= box.left &&
      event.clientX <= box.right &&
      event.clientY >= box.top &&
      event.clientY <= box.bottom;
    if (!inside && event.detail > 0) closeDialog(event.target);
  }
});

on("htmx:after:history:push", () => {
  wasPushed = true;
});

let losesFocus = ""; // the id of a part that is about to be replaced, and holds the focus
on("htmx:before:swap", ({ detail }) => {
  wasPushed = false;
  const target = detail.ctx?.target;
  losesFocus = target?.contains?.(document.activeElement) ? target.id : "";
});

on("htmx:after:swap", ({ detail }) => {
  const target = detail.ctx?.target;
  if (dialog && target?.id === "dialog-body" && target.textContent.trim()) {
    if (wasPushed) pushed += 1;
    if (!dialog.open) dialog.showModal();
    $("[data-focus]", dialog)?.scrollIntoView({ block: "center" });
  }
  $$("[data-toast]").forEach(watchToast);
  if (losesFocus && document.activeElement === document.body)
    $(`#${CSS.escape(losesFocus)} [data-refocus]`)?.focus({ preventScroll: true });
  losesFocus = "";
});

dialog?.addEventListener("close", () => {
  $("#dialog-body").replaceChildren();
  document.body.append($("#toasts"));
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
  $("[value=cancel]", box).textContent = element.dataset.confirmDismiss ?? "Cancel";
  const button = $("[value=confirm]", box);
  button.textContent = element.dataset.confirmButton ?? "Confirm";
  button.classList.toggle("btn-danger", element.dataset.confirmKind !== "plain");
  button.classList.toggle("btn-primary", element.dataset.confirmKind === "plain");
  box.returnValue = "cancel";
  box.showModal();
  return new Promise((resolve) =>
    box.addEventListener("close", () => resolve(box.returnValue === "confirm"), { once: true }),
  );
}

on("htmx:confirm", async (event) => {
  event.preventDefault();
  const { ctx, issueRequest, dropRequest } = event.detail;
  if (await ask(ctx.sourceElement)) issueRequest();
  else dropRequest();
});

on(
  "submit",
  async (event) => {
    const asking = event.submitter?.closest("[data-confirm]") ?? event.target.closest("form[data-confirm]");
    if (!asking || asking.hasAttribute("hx-confirm") || confirmed === event.target) return;
    event.preventDefault();
    event.stopImmediatePropagation();
    const submitter = event.submitter;
    if (!(await ask(asking))) return;
    confirmed = event.target;
    event.target.requestSubmit(submitter);
    confirmed = null;
  },
  { capture: true },
);

// Invoker commands for browsers that lack them: command="show-modal" commandfor="id"
if (!("command" in HTMLButtonElement.prototype)) {
  onClick("button[commandfor]", (button) => {
    const target = document.getElementById(button.getAttribute("commandfor"));
    const act = {
      "show-modal": "showModal",
      close: "close",
      "show-popover": "showPopover",
      "hide-popover": "hidePopover",
      "toggle-popover": "togglePopover",
    }[button.getAttribute("command")];
    if (act) target?.[act]?.();
  });
}
