// What the result pages can do beyond links: copy, share, print, a screen that stays awake, and news of the payment.
// Every text comes from the page. Without this script, whatever needs it is hidden.
"use strict";

(() => {
  const all = (what) => [...document.querySelectorAll(what)];
  const one = (what) => document.querySelector(what);

  // Tell screen readers what a button did. Emptied first, or the same words twice would be silence.
  function say(text) {
    const said = one("[data-zeus-said]");
    if (!said) return;
    said.textContent = "";
    setTimeout(() => { said.textContent = text; }, 100);
  }

  // --- Copy, share, print ---

  function copying(button) {
    const text = button.textContent;
    let timer = 0;
    button.addEventListener("click", async () => {
      let told = button.dataset.zeusDone;
      try {
        await navigator.clipboard.writeText(button.dataset.zeusCopy);
      } catch {
        told = button.dataset.zeusFailed;
      }
      say(told);
      button.textContent = told;
      button.classList.toggle("zeus-copied", told === button.dataset.zeusDone);
      clearTimeout(timer);
      timer = setTimeout(() => {
        button.textContent = text;
        button.classList.remove("zeus-copied");
      }, 3000);
    });
    button.hidden = false;
  }

  function sharing(button) {
    const link = { title: button.dataset.zeusTitle, url: button.dataset.zeusShare };
    button.addEventListener("click", () => navigator.share(link).catch(() => {})); // closed without sharing
    button.hidden = false;
  }

  function printing(button) {
    button.addEventListener("click", () => window.print());
    button.hidden = false;
  }

  if (navigator.clipboard) all("[data-zeus-copy]").forEach(copying);
  if (navigator.share) all("[data-zeus-share]").forEach(sharing);
  all("[data-zeus-print]").forEach(printing);

  // --- Counter mode: CSS shows it by its address; this keeps the screen awake and the keyboard inside ---

  function minding(counter) {
    const close = counter.querySelector('a[href^="#"]');
    const opener = one(`a[href="#${counter.id}"]`);
    let open = false;
    let own = false; // opened by a tap on this page, so that "back" is the way out
    let behind = [];
    let lock = null;

    const shown = () => location.hash === `#${counter.id}`;

    async function stayAwake() {
      if (lock || !navigator.wakeLock || document.visibilityState !== "visible") return;
      try {
        const got = await navigator.wakeLock.request("screen");
        if (open) {
          lock = got;
          lock.addEventListener("release", () => { lock = null; });
        } else {
          got.release();
        }
      } catch {
        // A low battery, or a browser that asks first: the screen goes dark as always.
      }
    }

    function seal() {
      for (let at = counter; at !== document.body; at = at.parentElement) {
        behind.push(...[...at.parentElement.children].filter((each) => each !== at && !each.inert));
      }
      behind.forEach((each) => { each.inert = true; });
    }

    function leave(event) {
      event.preventDefault();
      if (own) history.back();
      else location.replace(close.hash);
    }

    function follow() {
      if (shown() === open) return;
      open = !open;
      if (open) {
        seal();
        counter.focus({ preventScroll: true });
        stayAwake();
      } else {
        behind.forEach((each) => { each.inert = false; });
        behind = [];
        own = false;
        if (lock) lock.release();
        if (opener) opener.focus({ preventScroll: true });
      }
    }

    if (opener) opener.addEventListener("click", () => { own = true; });
    close.addEventListener("click", leave);
    addEventListener("keydown", (event) => { if (open && event.key === "Escape") leave(event); });
    addEventListener("hashchange", follow);
    document.addEventListener("visibilitychange", () => { if (open) stayAwake(); });
    follow();
  }

  const counter = document.getElementById("zeus-counter");
  if (counter) minding(counter);

  // --- News of the payment: asked for ever more rarely, never while the page is hidden ---

  const FIRST = 5000;
  const LONGEST = 60000;
  const GROWTH = 1.5;
  const PATIENCE = 30 * 60 * 1000; // of being looked at without news; coming back to the page begins anew

  function watching(watch) {
    const awake = watch.querySelector("[data-zeus-watching]");
    const tired = watch.querySelector("[data-zeus-tired]");
    let timer = 0;
    let wait = FIRST;
    let waited = 0;
    let over = false;
    let asking = false;

    function show(isTired) {
      awake.hidden = isTired;
      tired.hidden = !isTired;
    }

    function later() {
      clearTimeout(timer);
      if (over || document.hidden) return;
      if (waited >= PATIENCE) {
        show(true);
        return;
      }
      timer = setTimeout(ask, wait);
      waited += wait;
      wait = Math.min(wait * GROWTH, LONGEST);
    }

    async function ask() {
      if (asking) return;
      asking = true;
      try {
        const answer = await fetch(watch.dataset.zeusWatch, { cache: "no-store", redirect: "error" });
        if (answer.status === 404 || answer.status === 403) {
          over = true;
          show(true);
        } else if (answer.ok && (await answer.json()).version !== watch.dataset.zeusVersion) {
          over = true;
          location.reload();
        }
      } catch {
        // No network, as in many a shop's corner: the page stays as it is, and the next look may succeed.
      }
      asking = false;
      later();
    }

    function anew() {
      if (over) return;
      wait = FIRST;
      waited = 0;
      show(false);
      ask();
    }

    document.addEventListener("visibilitychange", () => {
      if (document.hidden) clearTimeout(timer);
      else anew();
    });
    addEventListener("pageshow", (event) => { if (event.persisted) anew(); });
    addEventListener("online", anew);
    show(false);
    later();
  }

  const watch = one("[data-zeus-watch]");
  if (watch) watching(watch);
})();
