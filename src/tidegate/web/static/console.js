"use strict";
// Follows the page: asks for it again, and puts the sections that differ in the place of those shown.
// A section that stays the same is left alone, and with it the reader's focus, selection and place.

const PAUSE = 1500; // milliseconds between questions, at least
const SHARE = 10; // and at least this many times what the last answer took: a large proxy is asked less often
const live = document.getElementById("live");
let tag = "";

function say(text, kind) {
  if (live.textContent !== text) live.textContent = text;
  live.className = kind;
}

function rowsOf(section) {
  return new Set(Array.from(section.querySelectorAll("tbody tr"), (row) => row.textContent));
}

function replace(before, after) {
  const known = rowsOf(before);
  for (const row of after.querySelectorAll("tbody tr")) {
    if (known.size && !known.has(row.textContent)) row.classList.add("new");
  }
  const scrolled = Array.from(before.querySelectorAll(".scroll"), (each) => each.scrollLeft);
  const focused = before.contains(document.activeElement) ? document.activeElement.getAttribute("href") : null;
  before.replaceWith(after);
  after.querySelectorAll(".scroll").forEach((each, i) => { each.scrollLeft = scrolled[i] || 0; });
  if (focused) after.querySelector(`a[href="${CSS.escape(focused)}"]`)?.focus({ preventScroll: true });
}

const served = new Map(); // what each section was when it came, before its rows were marked as new

function show(page) {
  const main = document.getElementById("content");
  const wanted = Array.from(page.getElementById("content").children);
  const ids = new Set(wanted.map((each) => each.id));
  for (const old of Array.from(main.children)) {
    if (!ids.has(old.id)) old.remove();
  }
  let changed = false;
  let last = null;
  for (const each of wanted) {
    const text = each.outerHTML;
    const old = document.getElementById(each.id);
    const place = document.importNode(each, true);
    if (!old) {
      if (last) last.after(place);
      else main.prepend(place);
    } else if (served.get(each.id) !== text) {
      replace(old, place);
    }
    changed = changed || served.get(each.id) !== text;
    served.set(each.id, text);
    last = document.getElementById(each.id);
  }
  return changed;
}

async function look() {
  const headers = tag ? { "If-None-Match": tag } : {};
  const answer = await fetch(location.pathname + location.search, { headers, cache: "no-store" });
  if (answer.status === 401) return say("Signed out: start the console again", "lost");
  if (answer.status !== 304) {
    if (!answer.ok) throw new Error(answer.status);
    const text = await answer.text();
    const changed = show(new DOMParser().parseFromString(text, "text/html"));
    tag = answer.headers.get("ETag") || "";
    if (changed) return say(`Changed at ${new Date().toLocaleTimeString()}`, "on");
  }
  if (live.className !== "on") say("Live", "on");
}

async function follow() {
  const began = performance.now();
  try {
    if (!document.hidden) await look();
  } catch {
    say("The console does not answer", "lost");
  }
  setTimeout(follow, Math.max(PAUSE, SHARE * (performance.now() - began)));
}

for (const each of document.getElementById("content").children) served.set(each.id, each.outerHTML);
say("Live", "on");
setTimeout(follow, PAUSE);
