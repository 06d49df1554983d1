// The desk's only script. Every page works without it; with it, less has to be pressed.
"use strict";

// --- delivery and imports: bars that move -----------------------------------------------------

const progress = document.querySelector("[data-progress]");
const numbers = new Intl.NumberFormat(document.documentElement.lang);

let looks = 0;

// The table of what waits comes anew with the page, unless somebody is about to press there.
async function lookAtWhatWaits() {
  const live = document.querySelector("[data-live]");
  if (live.contains(document.activeElement)) return;
  const answer = await fetch(location.href);
  if (!answer.ok) return;
  const fresh = new DOMParser().parseFromString(await answer.text(), "text/html");
  live.replaceWith(fresh.querySelector("[data-live]"));
}

async function look() {
  const answer = await fetch(progress.dataset.progress, { headers: { Accept: "application/json" } });
  if (!answer.ok) return;
  const state = await answer.json();
  for (const section of progress.querySelectorAll("[data-channel]")) {
    const counts = state[section.dataset.channel];
    const bar = section.querySelector("progress");
    bar.max = Math.max(counts.total, 1);
    bar.value = counts.done;
    for (const word of section.querySelectorAll("[data-count]")) {
      word.textContent = numbers.format(counts[word.dataset.count]);
    }
  }
  if (state.finished) location.reload();
  else setTimeout(look, 2000);
  if (looks++ % 5 === 4) await lookAtWhatWaits();
}

const watched = document.querySelector("[data-watch]");

async function watch() {
  const answer = await fetch(watched.dataset.watch, { headers: { Accept: "application/json" } });
  if (!answer.ok) return;
  const state = await answer.json();
  watched.max = Math.max(state.total, 1);
  watched.value = state.done;
  if (state.finished) location.reload();
  else setTimeout(watch, 500);
}

// --- second thoughts: seconds that run down ----------------------------------------------------

const countdown = document.querySelector("[data-until]");

function countDown() {
  const left = Math.round((Date.parse(countdown.dataset.until) - Date.now()) / 1000);
  if (left <= 0) return location.reload();
  const minutes = Math.floor(left / 60);
  countdown.textContent = `${minutes}:${String(left % 60).padStart(2, "0")}`;
  setTimeout(countDown, 1000);
}

// --- after a session has ended: what was typed goes on by itself -------------------------------

const goOn = document.querySelector("[data-go-on]");

// --- writing: nothing typed is lost ------------------------------------------------------------

const form = document.querySelector("[data-autosave]");
const FIELDS = ["title", "summary", "body", "cover_alt"];
const SAVE_AFTER = 1200; // Milliseconds without a keystroke.
const RETRY_AFTER = 5000;

function writing() {
  const state = document.querySelector("[data-state]");
  const live = document.querySelector("[data-live]");
  let key = `fediletter-${form.dataset.keep}`;
  let timer = 0;
  let running = false;
  let dirty = false;
  let sent = false;

  const say = (words) => {
    if (state.textContent !== words) state.textContent = words;
  };
  const texts = () => Object.fromEntries(FIELDS.map((name) => [name, form.elements[name].value]));

  function keep() {
    try {
      const version = form.elements.version.value;
      localStorage.setItem(key, JSON.stringify({ version, texts: texts() }));
    } catch {
      // A full or forbidden store: the server still has what was saved.
    }
  }

  function forget() {
    try {
      localStorage.removeItem(key);
    } catch {
      // As above.
    }
  }

  // What an earlier page could not save: put back, unless the server has something newer.
  function restore() {
    let kept = null;
    try {
      kept = JSON.parse(localStorage.getItem(key));
    } catch {
      return;
    }
    if (!kept || form.dataset.fresh === "no" || kept.version !== form.elements.version.value) return;
    const now = texts();
    if (FIELDS.every((name) => kept.texts[name] === now[name])) return forget();
    for (const name of FIELDS) form.elements[name].value = kept.texts[name] ?? now[name];
    say(form.dataset.restored);
    changed();
  }

  function show() {
    if (!live || !live.dataset.frame) return;
    live.hidden = false;
    live.parentElement.classList.add("side");
    const frame = live.querySelector("iframe");
    const address = `${live.dataset.frame}?v=${form.elements.version.value}`;
    if (frame.getAttribute("src")) frame.contentWindow.location.replace(address);
    else frame.src = address;
  }

  function changed() {
    dirty = true;
    keep();
    clearTimeout(timer);
    timer = setTimeout(save, SAVE_AFTER);
  }

  async function renewToken() {
    const answer = await fetch("/desk/token", { redirect: "manual" });
    if (!answer.ok) return false;
    const { csrf } = await answer.json();
    for (const field of document.querySelectorAll("input[name=csrf]")) field.value = csrf;
    return true;
  }

  function retry(words) {
    say(words);
    clearTimeout(timer);
    timer = setTimeout(save, RETRY_AFTER);
  }

  async function save() {
    if (running || !dirty || sent) return;
    running = true;
    dirty = false;
    say(form.dataset.saving);
    const data = new FormData(form);
    for (const [name, value] of [...data]) if (value instanceof File) data.delete(name);
    for (const name of [...data.keys()]) if (name.startsWith("figure")) data.delete(name);
    try {
      const answer = await fetch(form.dataset.autosave, {
        method: "POST",
        body: data,
        headers: { Accept: "application/json" },
      });
      await after(answer);
    } catch {
      dirty = true;
      retry(form.dataset.offline);
    } finally {
      running = false;
    }
    if (dirty && answered) changed();
  }

  let answered = false;

  async function after(answer) {
    answered = false;
    if (answer.status === 401 || answer.status === 403) {
      dirty = true;
      if (await renewToken()) retry(form.dataset.saving);
      else retry(form.dataset.out);
    } else if (answer.status === 409) {
      sent = true; // The form's own button shows both texts; until then this browser keeps ours.
      say(form.dataset.conflict);
    } else if (answer.status === 422) {
      say(Object.values((await answer.json()).problems).join(" "));
    } else if (!answer.ok) {
      dirty = true;
      retry(form.dataset.offline);
    } else {
      answered = true;
      saved(await answer.json());
    }
  }

  function saved(found) {
    form.elements.version.value = found.version;
    const fresh = form.getAttribute("action") === "/desk/letters";
    if (fresh) {
      forget();
      form.setAttribute("action", found.path);
      form.dataset.autosave = `${found.path}/autosave`;
      key = `fediletter-letter-${found.path.split("/").pop()}`;
      history.replaceState(null, "", found.path);
      if (live) live.dataset.frame = `/desk/frames/${found.path.split("/").pop()}/web`;
    }
    if (dirty) keep();
    else forget();
    say(form.dataset.saved);
    show();
  }

  form.addEventListener("input", (event) => {
    if (event.target.type !== "file" && !event.target.name.startsWith("figure")) changed();
  });
  form.addEventListener("submit", () => {
    sent = true;
    clearTimeout(timer);
    keep(); // Until the server has answered with the saved page, which forgets it.
  });
  window.addEventListener("online", () => dirty && save());
  restore();
  show();
  return { changed, say };
}

// --- an image dropped, pasted or chosen goes into the text -------------------------------------

function images(told) {
  const body = form.elements.body;
  const place = form.querySelector("[data-insert]");
  const file = form.elements.figure;
  place.querySelector(".scripted").hidden = false;

  function insert(markdown) {
    const at = body.selectionEnd;
    const before = body.value.slice(0, at).replace(/\n*$/, "");
    const after = body.value.slice(at).replace(/^\n*/, "");
    body.value = `${before}${before && "\n\n"}${markdown}\n\n${after}`;
    body.selectionStart = body.selectionEnd = at + markdown.length + 2;
    told.changed();
  }

  function wrong(name, words) {
    const field = form.elements[name];
    let place = document.getElementById(`p-${name}`);
    if (!place) {
      place = document.createElement("span");
      place.className = "problem";
      place.id = `p-${name}`;
      field.after(place);
    }
    place.textContent = words;
    field.toggleAttribute("aria-invalid", Boolean(words));
    if (words) {
      field.setAttribute("aria-invalid", "true");
      field.setAttribute("aria-describedby", place.id);
      field.focus();
    }
  }

  async function send(event) {
    event.preventDefault();
    const data = new FormData();
    data.set("csrf", form.elements.csrf.value);
    if (file.files[0]) data.set("image", file.files[0]);
    for (const name of ["alt", "caption", "credit"]) {
      data.set(name, form.elements[`figure_${name}`].value);
    }
    for (const name of ["figure", "figure_alt"]) wrong(name, "");
    if (file.files[0] && file.files[0].size > 10 * 1024 * 1024) {
      return wrong("figure", form.dataset.large);
    }
    const answer = await fetch(place.dataset.insert, {
      method: "POST",
      body: data,
      headers: { Accept: "application/json" },
    }).catch(() => null);
    if (!answer || (!answer.ok && answer.status !== 422)) return told.say(form.dataset.offline);
    const found = await answer.json();
    if (found.problems) {
      for (const [name, words] of Object.entries(found.problems)) {
        wrong(name === "image" ? "figure" : `figure_${name}`, words);
      }
      return;
    }
    insert(found.markdown);
    for (const name of ["figure", "figure_alt", "figure_caption", "figure_credit"]) {
      form.elements[name].value = "";
    }
    told.say(form.dataset.dropped);
    place.parentElement.open = false;
    body.focus();
  }

  function take(event, items) {
    const dropped = [...(items?.files ?? [])].filter((one) => one.type.startsWith("image/"));
    if (!dropped.length) return;
    event.preventDefault();
    const transfer = new DataTransfer();
    transfer.items.add(dropped[0]);
    file.files = transfer.files;
    place.parentElement.open = true;
    form.elements.figure_alt.focus();
  }

  place.querySelector("button").addEventListener("click", send);
  body.addEventListener("dragover", (event) => event.preventDefault());
  body.addEventListener("drop", (event) => take(event, event.dataTransfer));
  body.addEventListener("paste", (event) => take(event, event.clipboardData));
}

// --- hours: those of this device, until somebody has chosen ------------------------------------

const zone = document.querySelector("[data-zone]");
if (zone && !zone.value) {
  zone.value = Intl.DateTimeFormat().resolvedOptions().timeZone;
  if (!zone.value) zone.value = "";
}

if (progress) setTimeout(look, 1000);
if (watched) setTimeout(watch, 300);
if (countdown) countDown();
if (goOn) goOn.requestSubmit();
if (form) images(writing());
