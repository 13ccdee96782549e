/* What makes the checkout form easier to fill in. The server does all of it again; without this script nothing is missing
   but convenience. No text stands here: the page brings them in its data- attributes. */
(function () {
  "use strict";

  const form = document.querySelector(".zeus-cvs .zeus-checkout");
  if (!form) return;
  const stores = form.querySelector("[role=radiogroup]");
  const lines = Array.from(form.querySelectorAll(".zeus-line input"));
  const name = lines.find((each) => each.dataset.foreign);
  const known = form.querySelector(".zeus-known");

  // Names: the same as customer.py, step by step; tests/browser/test_checkout.py compares both.

  const UNSEEN = /[\u00ad\u061c\u180e\u200b-\u200f\u202a-\u202e\u2060\u2066-\u2069\ufeff]/g;
  const SPACES = /[ \u00a0\u1680\u2000-\u200a\u202f\u205f\u3000]+/g;
  const HALF = "。「」、・ヲァィゥェォャュョッーアイウエオカキクケコサシスセソタチツテトナニヌネノハヒフヘホマミムメモヤユヨラリルレロワン";
  const VOICED = { "゛": "\u3099", "ﾞ": "\u3099", "゜": "\u309a", "ﾟ": "\u309a" };
  const LONG_VOWEL = /([ァ-ヺー])([-\u2010-\u2015\u2043\u2212\u2500\u2501\ufe58\ufe63\uff0d]+)/g;

  function katakana(text) {
    return text
      .replace(UNSEEN, "")
      .replace(/[｡-ﾝ]/g, (half) => HALF[half.charCodeAt(0) - 0xff61])
      .replace(/[ぁ-ゖ]/g, (kana) => String.fromCharCode(kana.charCodeAt(0) + 0x60))
      .replace(/([ァ-ヺ])([\u3099\u309a゛゜ﾞﾟ])/g, joined)
      .replace(LONG_VOWEL, (_, kana, run) => kana + "ー".repeat(run.length))
      .replace(SPACES, "\u3000")
      .replace(/^\u3000|\u3000$/g, "");
  }

  function joined(pair, kana, mark) {
    const one = (kana + (VOICED[mark] || mark)).normalize("NFC");
    return one.length === 1 ? one : pair;
  }

  /* What the server will say about a name that is not all katakana; blank for what only the server can judge. */
  function objection(text) {
    const written = katakana(text);
    const found = /[^ァ-ヶー\u3000]/u.exec(written);
    if (!found || /[\p{C}\p{Zl}\p{Zp}]/u.test(written)) return "";
    const rare = /[ヷ-ヺヽ-ヿㇰ-ㇿ]/.test(found[0]);
    return (rare ? name.dataset.rare : name.dataset.foreign).replace("{}", () => found[0]);
  }

  function watchName() {
    const notice = document.createElement("p");
    notice.className = "zeus-notice";
    notice.setAttribute("aria-live", "polite");
    name.after(notice);
    const judge = () => {
      const text = objection(name.value);
      if (text !== notice.textContent) notice.textContent = text;
    };
    name.addEventListener("input", (event) => {
      if (!event.isComposing) judge();
    });
    name.addEventListener("compositionend", judge);
    name.addEventListener("change", () => {
      const written = katakana(name.value);
      if (written !== name.value) name.value = written;
      judge();
    });
    if (name.getAttribute("aria-invalid") !== "true") judge();
  }

  // What is wrong. Only what is missing is said here: the server finds nothing else in a blank line either.

  const isBlank = (input) => !input.value.replace(UNSEEN, "").replace(SPACES, "");

  function setWrong(part, before) {
    setRight(part);
    const error = document.createElement("p");
    error.className = "zeus-error";
    error.id = part.id + "-error";
    error.textContent = part.dataset.missing;
    before.before(error);
    box(part).classList.add("zeus-wrong");
    part.setAttribute("aria-invalid", "true");
    part.setAttribute("aria-describedby", [described(part), error.id].join(" ").trim());
  }

  function setRight(part) {
    const error = document.getElementById(part.id + "-error");
    if (!error) return;
    error.remove();
    box(part).classList.remove("zeus-wrong");
    part.removeAttribute("aria-invalid");
    if (described(part)) part.setAttribute("aria-describedby", described(part));
    else part.removeAttribute("aria-describedby");
  }

  const box = (part) => part.closest(".zeus-line") || part;
  const described = (part) =>
    (part.getAttribute("aria-describedby") || "").replace(part.id + "-error", "").trim();

  /* Say what is missing; return the first input to go to. */
  function missing() {
    const found = [];
    const radio = stores && stores.querySelector("input");
    if (radio && !stores.querySelector("input:checked")) {
      setWrong(stores, stores.querySelector(".zeus-stores"));
      found.push(radio);
    }
    lines.filter((each) => each.dataset.missing && isBlank(each)).forEach((each) => {
      setWrong(each, each);
      found.push(each);
    });
    return found[0];
  }

  // Sending: once. Should no answer come at all, the button is free again after a while.

  const button = form.querySelector("button[type=submit]");
  const status = form.querySelector("[role=status]");
  const label = button ? button.textContent : "";
  let release = 0;

  function hold() {
    button.setAttribute("aria-disabled", "true");
    button.textContent = button.dataset.sending;
    if (status) status.textContent = status.dataset.sending;
    release = setTimeout(free, 40000);
  }

  function free() {
    clearTimeout(release);
    release = 0;
    button.removeAttribute("aria-disabled");
    button.textContent = label;
    if (status) status.textContent = "";
  }

  form.addEventListener("submit", (event) => {
    const first = release ? null : missing();
    if (release || first) event.preventDefault();
    if (first) {
      if (known && known.contains(first)) known.open = true;
      first.focus();
    } else if (!release && button) hold();
  });

  // Coming back with the browser's own button: what was typed may have come back, too.
  window.addEventListener("pageshow", (event) => {
    if (button && event.persisted) free();
    if (known && lines.some((each) => each.value !== each.defaultValue)) known.open = true;
  });

  if (name) watchName();
  if (stores) stores.addEventListener("change", () => setRight(stores));
  // What was said of a line was said of what stood there before. Not on leaving it: nothing may move under a finger.
  lines.forEach((each) => each.addEventListener("input", () => setRight(each)));
  if (known) {
    known.querySelector("summary").addEventListener("click", () => setTimeout(() => lines[0].focus()));
  }

  // Enter goes to the next line that is still empty, and sends when there is none.
  lines.slice(0, -1).forEach((each, place) => {
    each.enterKeyHint = "next";
    each.addEventListener("keydown", (event) => {
      if (event.key !== "Enter" || event.isComposing || event.keyCode === 229) return;
      const next = lines.slice(place + 1).find(isBlank);
      if (!next) return;
      event.preventDefault();
      next.focus();
    });
  });

  // Older browsers give `autofocus` to inputs only.
  const alert = document.querySelector(".zeus-cvs .zeus-alert[autofocus]");
  setTimeout(() => {
    if (alert && document.activeElement === document.body) alert.focus();
  }, 300);
})();
