// What an open page does by itself: it shows changes, says times again, and takes keys. Without it everything works too.
"use strict";

// -- times --------------------------------------------------------------------------------------------------------
function age(seconds) {
  const whole = Math.floor(seconds);
  for (const [unit, size, below, belowSize] of [["d", 86400, "h", 3600], ["h", 3600, "m", 60], ["m", 60, "s", 1]]) {
    if (whole >= size) {
      const rest = Math.floor((whole % size) / belowSize);
      return rest ? `${Math.floor(whole / size)}${unit}${rest}${below}` : `${Math.floor(whole / size)}${unit}`;
    }
  }
  return `${whole}s`;
}

function sayTimes() {
  for (const time of document.querySelectorAll("time[data-ago]")) {
    const seconds = (Date.now() - Date.parse(time.dateTime)) / 1000;
    const words = Math.abs(seconds) < 1 ? "now" : seconds < 0 ? `in ${age(-seconds)}` : `${age(seconds)} ago`;
    if (time.textContent !== words) time.textContent = words;
  }
}

// -- changes ------------------------------------------------------------------------------------------------------
let stream = null;
let failures = 0;

function say(words, isOff) {
  const state = document.querySelector("[data-live-state]");
  if (!state) return;
  state.hidden = false;
  state.textContent = words;
  state.classList.toggle("off", isOff);
}

function isBusy(main) {
  // Somebody types, or has marked something to copy it: nothing is taken from under their hands.
  const field = document.activeElement;
  const isTyping = main.contains(field) && field.matches("input, textarea, select");
  const selection = document.getSelection();
  return isTyping || (selection && !selection.isCollapsed && main.contains(selection.anchorNode));
}

function placeOf(main, element) {
  // How an element is found again in the page that takes its place.
  if (!main.contains(element) || element === main) return null;
  if (element.id) return `#${CSS.escape(element.id)}`;
  const href = element.getAttribute("href");
  return href ? `a[href="${CSS.escape(href)}"]` : null;
}

let waiting = null;

function show(html) {
  const main = document.getElementById("main");
  if (isBusy(main)) {
    waiting = html;
    say("changes wait", true);
    return;
  }
  waiting = null;
  const opened = [...main.querySelectorAll("details[open][id]")].map((each) => each.id);
  const scrolled = [...main.querySelectorAll(".wide")].map((each) => each.scrollLeft);
  const focused = placeOf(main, document.activeElement);
  const known = new Set([...main.querySelectorAll("[data-row]")].map((row) => row.dataset.row));
  const next = new DOMParser().parseFromString(html, "text/html").getElementById("main");
  main.replaceChildren(...next.childNodes);
  for (const id of opened) document.getElementById(id)?.setAttribute("open", "");
  main.querySelectorAll(".wide").forEach((each, n) => { each.scrollLeft = scrolled[n] || 0; });
  if (known.size) {
    for (const row of main.querySelectorAll("[data-row]")) {
      if (!known.has(row.dataset.row)) row.classList.add("fresh");
    }
  }
  if (focused) main.querySelector(focused)?.focus({ preventScroll: true });
  prepare();
}

function listen() {
  const main = document.getElementById("main");
  if (!main || !("live" in main.dataset) || stream || document.hidden) return;
  stream = new EventSource(location.href);
  stream.addEventListener("page", (event) => {
    failures = 0;
    say("live", false);
    show(JSON.parse(event.data));
  });
  stream.addEventListener("over", () => { rest(); say("not live: reload", true); });
  stream.onerror = () => {
    say("not live", true);
    if (stream && stream.readyState === EventSource.CLOSED) {
      rest();
      failures += 1;
      if (failures < 6) setTimeout(listen, 1000 * 2 ** failures);
    }
  };
}

function rest() {
  stream?.close();
  stream = null;
}

document.addEventListener("visibilitychange", () => (document.hidden ? rest() : listen()));
window.addEventListener("pagehide", rest);
window.addEventListener("pageshow", listen);
document.addEventListener("focusout", () => setTimeout(() => { if (waiting) show(waiting); }, 50));

// -- keys ---------------------------------------------------------------------------------------------------------
function move(by) {
  const rows = [...document.querySelectorAll("[data-row]")];
  if (!rows.length) return;
  const at = rows.findIndex((row) => row.contains(document.activeElement));
  const row = rows[Math.min(rows.length - 1, Math.max(0, at < 0 ? 0 : at + by))];
  row.querySelector("a")?.focus();
  row.scrollIntoView({ block: "nearest" });
}

document.addEventListener("keydown", (event) => {
  if (event.ctrlKey || event.metaKey || event.altKey) return;
  const isField = event.target.matches("input, textarea, select");
  if (event.key === "Escape" && isField) event.target.blur();
  if (isField) return;
  const does = {
    "/": () => document.querySelector("[data-find]")?.focus(),
    j: () => move(1),
    k: () => move(-1),
  }[event.key];
  if (does) { event.preventDefault(); does(); }
});

// -- command lines ------------------------------------------------------------------------------------------------
function prepare() {
  sayTimes();
  if (!navigator.clipboard) return;
  for (const code of document.querySelectorAll("code[data-copy]:not([data-can])")) {
    code.dataset.can = "";
    const button = document.createElement("button");
    button.type = "button";
    button.className = "copy quiet";
    button.textContent = "Copy";
    button.addEventListener("click", async () => {
      await navigator.clipboard.writeText(code.textContent);
      button.textContent = "Copied";
      setTimeout(() => { button.textContent = "Copy"; }, 1500);
    });
    code.after(button);
  }
}

prepare();
setInterval(sayTimes, 1000);
listen();
