// Everything here makes a page that already works more pleasant. No framework, no build step.
"use strict";

const root = document.documentElement;
const YEAR = 31536000;
const find = (selector, within = document) => within.querySelector(selector);
const all = (selector, within = document) => [...within.querySelectorAll(selector)];

// -- what this browser remembers: a cookie for the server, storage for the next first paint -----------

function remember(changes) {
  for (const [name, value] of Object.entries(changes)) {
    root.dataset[name] = value;
    document.cookie = `certctl_${name}=${encodeURIComponent(value)}; Path=/; Max-Age=${YEAR}; SameSite=Lax; Secure`;
  }
  try {
    const kept = JSON.parse(localStorage.getItem("certctl.prefs") || "{}");
    localStorage.setItem("certctl.prefs", JSON.stringify({ ...kept, ...changes }));
  } catch {
    // Storage is closed to this page: the cookie is enough.
  }
}

function shownTheme() {
  const chosen = root.dataset.theme;
  if (chosen === "light" || chosen === "dark") return chosen;
  return matchMedia("(prefers-color-scheme: dark)").matches ? "dark" : "light";
}

// -- messages -----------------------------------------------------------------------------------------

function toast(text, tone = "bad") {
  const place = find(".toasts");
  if (!place) return;
  const banner = document.createElement("div");
  banner.className = `banner tone-${tone}`;
  const body = document.createElement("div");
  body.className = "banner-body";
  body.textContent = text;
  banner.append(document.createElement("span"), body);
  place.append(banner);
  setTimeout(() => banner.remove(), 8000);
}

async function copy(button) {
  try {
    await navigator.clipboard.writeText(button.dataset.copy);
  } catch {
    toast("This browser does not allow copying here. Select the text instead.", "warning");
    return;
  }
  button.classList.add("copied");
  button.setAttribute("aria-label", "Copied");
  setTimeout(() => button.classList.remove("copied"), 1600);
}

// -- dialogs: links open them through :target; here they become modal -----------------------------------

function openDialog(id) {
  const dialog = document.getElementById(id);
  if (!(dialog instanceof HTMLDialogElement)) return false;
  if (dialog.open) dialog.close();
  dialog.showModal();
  const first = find("[aria-invalid=true], input:not([type=hidden]), select, textarea", dialog);
  first?.focus();
  return true;
}

function forgetHash(dialog) {
  if (location.hash === `#${dialog.id}`) history.replaceState(null, "", location.pathname + location.search);
}

function closeDialog(dialog) {
  if (dialog.open) dialog.close();
  forgetHash(dialog);
}

// -- times ------------------------------------------------------------------------------------------------

const two = (number) => String(number).padStart(2, "0");

function relative(moment) {
  const seconds = (moment - Date.now()) / 1000;
  const size = Math.abs(seconds);
  if (size < 60) return seconds <= 0 ? "just now" : "in a moment";
  let text = `${Math.floor(size / 86400)} days`;
  if (size < 3600) text = `${Math.floor(size / 60)} min`;
  else if (size < 172800) text = `${Math.floor(size / 3600)} h`;
  return seconds > 0 ? `in ${text}` : `${text} ago`;
}

function local(moment) {
  const day = `${moment.getFullYear()}-${two(moment.getMonth() + 1)}-${two(moment.getDate())}`;
  return `${day} ${two(moment.getHours())}:${two(moment.getMinutes())}`;
}

function showTimes(within = document) {
  for (const element of all("time[data-time=relative], time[data-time=local]", within)) {
    const moment = new Date(element.dateTime);
    const text = element.dataset.time === "local" ? local(moment) : relative(moment);
    if (element.textContent !== text) element.textContent = text;
  }
}

// -- quiet refreshes: stop while the page is hidden or the reader is busy in the part -------------------

const lastPoll = new WeakMap();

function isBusy(element) {
  const within = document.activeElement && document.activeElement !== document.body && element.contains(document.activeElement);
  return within || Boolean(find("details[open]", element)) || Boolean(find("dialog:modal")) || !getSelection().isCollapsed;
}

function poll() {
  if (document.hidden) return;
  for (const element of all("[data-poll]")) {
    const since = Date.now() - (lastPoll.get(element) ?? lastPoll.set(element, Date.now()).get(element));
    if (since < Number(element.dataset.poll) * 1000 || isBusy(element)) continue;
    lastPoll.set(element, Date.now());
    window.htmx?.trigger(element, "certctl:poll");
  }
}

// -- command palette ------------------------------------------------------------------------------------------

const palette = document.getElementById("palette");

function options() {
  return all(".palette-item", palette).filter((option) => !option.hidden);
}

function select(option) {
  for (const other of all("[role=option][aria-selected=true]", palette)) other.setAttribute("aria-selected", "false");
  if (!option) return;
  option.setAttribute("aria-selected", "true");
  option.id ||= `palette-${Math.random().toString(36).slice(2)}`;
  find("input", palette).setAttribute("aria-activedescendant", option.id);
  option.scrollIntoView({ block: "nearest" });
}

function filterPalette() {
  const words = find("input", palette).value.toLowerCase().split(/\s+/).filter(Boolean);
  for (const element of all("[data-palette-static]", palette)) {
    const isTitle = !element.matches("[role=option]");
    const text = element.textContent.toLowerCase();
    element.hidden = words.length > 0 && (isTitle || !words.every((word) => text.includes(word)));
  }
  if (!words.length) find("#palette-results", palette).replaceChildren();
  select(options()[0]);
}

function openPalette(text = "") {
  if (!palette || palette.open || find("dialog:modal")) return;
  const input = find("input", palette);
  input.value = text;
  palette.showModal();
  input.focus();
  filterPalette();
  if (text) window.htmx?.trigger(input, "input");
}

function paletteKey(event) {
  const list = options();
  const at = list.findIndex((option) => option.getAttribute("aria-selected") === "true");
  if (event.key === "ArrowDown") select(list[Math.min(at + 1, list.length - 1)]);
  else if (event.key === "ArrowUp") select(list[Math.max(at - 1, 0)]);
  else if (event.key === "Enter" && list[at]) list[at].click();
  else return;
  event.preventDefault();
}

// -- one listener for each kind of event; parts that are swapped in need no wiring ----------------------

const clicks = {
  "[data-copy]": copy,
  "[data-dismiss]": (button) => button.closest(".banner").remove(),
  "[data-back]": () => history.back(),
  // By a click only: whoever comes here with Tab must be able to go on, and can search with Enter.
  "[data-palette-open]": (input) => {
    input.blur();
    openPalette(input.value);
  },
  "[data-theme-toggle]": () => remember({ theme: shownTheme() === "dark" ? "light" : "dark" }),
  "[data-sidebar-toggle]": () => remember({ sidebar: root.dataset.sidebar === "collapsed" ? "open" : "collapsed" }),
  "[data-dialog]": (link, event) => {
    if (!openDialog(link.dataset.dialog)) return;
    event.preventDefault();
    link.closest("details.menu")?.removeAttribute("open");
  },
  "[data-close]": (link, event) => {
    event.preventDefault();
    closeDialog(link.closest("dialog"));
  },
};

document.addEventListener("click", (event) => {
  for (const menu of all("details.menu[open]")) if (!menu.contains(event.target)) menu.open = false;
  if (event.target instanceof HTMLDialogElement && event.target.matches(":modal")) closeDialog(event.target);
  for (const [selector, act] of Object.entries(clicks)) {
    const found = event.target.closest(selector);
    if (found) act(found, event);
  }
});

document.addEventListener("keydown", (event) => {
  const typing = event.target.closest("input, textarea, select, [contenteditable]");
  if ((event.ctrlKey || event.metaKey) && event.key.toLowerCase() === "k") {
    event.preventDefault();
    openPalette();
  } else if (event.key === "/" && !typing && !event.ctrlKey && !event.metaKey) {
    event.preventDefault();
    openPalette();
  } else if (event.key === "Escape" && palette?.open) {
    // A search field would take the first Escape to empty itself.
    event.preventDefault();
    closeDialog(palette);
  } else if (event.key === "Escape") {
    const menu = find("details.menu[open]");
    if (menu) {
      menu.open = false;
      find("summary", menu).focus();
    }
    if (location.hash === "#sidebar") location.hash = "#main";
  } else if (palette?.open) {
    paletteKey(event);
  }
});

// -- the search of a field: down into what was found, never off with the form --------------------------

document.addEventListener("keydown", (event) => {
  const field = event.target.dataset?.find;
  if (!field || !["Enter", "ArrowDown"].includes(event.key)) return;
  event.preventDefault();
  document.getElementById(field).focus();
});

// What is typed there is no filter by itself: the list below is not asked for anew.
document.addEventListener("change", (event) => event.target.dataset?.find && event.stopPropagation(), true);

document.addEventListener("input", (event) => {
  if (palette?.contains(event.target)) filterPalette();
});

// A dialog that was shown plainly is closed and shown again as modal: its late event finds it open.
document.addEventListener("close", (event) => event.target.open || forgetHash(event.target), true);

document.addEventListener("submit", (event) => {
  const form = event.target;
  if (form.matches("[data-preferences]")) {
    event.preventDefault();
    const data = new FormData(form);
    const times = data.get("times") === "zone" ? data.get("zone") || "utc" : data.get("times");
    remember({ theme: data.get("theme"), density: data.get("density"), times });
    location.reload();
    return;
  }
  // A form is sent once: a second click waits for the answer of the first.
  if (form.method === "post" && !event.defaultPrevented) {
    for (const button of all("button[type=submit]", form)) button.setAttribute("aria-busy", "true");
    if (form.dataset.sent) event.preventDefault();
    form.dataset.sent = "yes";
  }
});

window.addEventListener("pageshow", (event) => {
  if (!event.persisted) return;
  for (const form of all("form[data-sent]")) delete form.dataset.sent;
  for (const button of all("[aria-busy=true]")) button.removeAttribute("aria-busy");
});

// -- htmx ---------------------------------------------------------------------------------------------------------

document.addEventListener("htmx:configRequest", (event) => {
  // Empty fields would only make the address long.
  if (event.detail.verb !== "get") return;
  for (const [name, value] of [...event.detail.formData.entries()]) if (value === "") event.detail.formData.delete(name);
});

document.addEventListener("htmx:beforeSwap", (event) => {
  // The session is over: show the sign-in page whole, not a piece of it inside a table.
  const answered = new URL(event.detail.xhr.responseURL || location.href, location.href);
  if (answered.pathname === "/login" || event.detail.xhr.status === 401) {
    event.detail.shouldSwap = false;
    location.reload();
  }
});

document.addEventListener("htmx:afterSwap", (event) => {
  showTimes(event.detail.target);
  if (!palette?.contains(event.detail.target)) return;
  for (const option of all("#palette-results .palette-item", palette)) option.setAttribute("role", "option");
  select(options()[0]);
});

document.addEventListener("htmx:responseError", (event) => {
  if (event.detail.xhr.status !== 401) toast(`The server refused this (${event.detail.xhr.status}). Reload the page and try again.`);
});

document.addEventListener("htmx:sendError", (event) => {
  if (!event.detail.elt.matches("[data-poll]")) toast("The server cannot be reached.");
});

// -- start --------------------------------------------------------------------------------------------------------

showTimes();
setInterval(showTimes, 30000);
setInterval(poll, 1000);
for (const banner of all(".toasts .tone-good")) setTimeout(() => banner.remove(), 6000);
for (const dialog of all("dialog[data-reopen]")) openDialog(dialog.id);
if (location.hash.length > 1) openDialog(decodeURIComponent(location.hash.slice(1)));
for (const key of all(".topbar-search kbd")) if (/Mac|iP/.test(navigator.platform) && key.textContent === "Ctrl") key.textContent = "⌘";
