// What every other script says with few words. Listeners are delegated: what htmx swaps in needs no set-up.

export const $ = (selector, root = document) => root.querySelector(selector);
export const $$ = (selector, root = document) => [...root.querySelectorAll(selector)];
export const on = (name, act, options) => document.addEventListener(name, act, options);
export const onClick = (selector, act) =>
  on("click", (event) => {
    const found = event.target.closest?.(selector);
    if (found) act(found, event);
  });
export const stored = {
  get: (key) => {
    try {
      return localStorage.getItem(key);
    } catch {
      return null;
    }
  },
  set: (key, value) => {
    try {
      localStorage.setItem(key, value);
    } catch {
      /* private windows forget */
    }
  },
};

// What asks for itself at each round of live.js. A poll fails quietly: the next one tries again.
export const LIVE_PART = '[hx-trigger="live"]';
export const isPoll = (ctx) => Boolean(ctx?.poll || ctx?.sourceElement?.matches?.(LIVE_PART));
