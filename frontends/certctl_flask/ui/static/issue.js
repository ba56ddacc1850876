// The issue form: makes the key in this browser. What is sent is the request alone; the private key
// stays in this page until the reader downloads it, and nowhere else.
"use strict";

import { ALGORITHM, buildRequest, parseNames, pem } from "./csr.js";

const form = document.querySelector("[data-issue]");
const part = (name) => form.querySelector(`[data-key-${name}]`);
let keys = null;
let isDownloaded = false;

function fail(text) {
  part("error").textContent = text;
  part("error").hidden = !text;
}

function say(text) {
  part("status").textContent = text;
}

const usesBrowserKey = () => form.elements.key_mode.value === "browser";
const fileName = () => {
  const name = form.elements.common_name.value.trim() || form.elements.sans.value.trim().split(/[\s,]+/)[0];
  return `${(name || "certificate").replace(/^\*/, "wildcard").replace(/[^A-Za-z0-9._-]/g, "_")}.key.pem`;
};

function show() {
  part("idle").hidden = keys !== null;
  part("ready").hidden = keys === null;
  part("submit").disabled = keys === null || !isDownloaded;
  part("hint").hidden = isDownloaded;
}

async function makeKey() {
  fail("");
  if (!globalThis.crypto?.subtle) {
    fail("This browser offers its cryptography only over HTTPS. Use another way to make the key.");
    return;
  }
  try {
    keys = await crypto.subtle.generateKey(ALGORITHM, true, ["sign", "verify"]);
    const spki = await crypto.subtle.exportKey("spki", keys.publicKey);
    const digest = new Uint8Array(await crypto.subtle.digest("SHA-256", spki));
    const hex = [...digest.slice(0, 8)].map((byte) => byte.toString(16).padStart(2, "0")).join("");
    part("print").textContent = `${hex}…`;
  } catch (error) {
    fail(`The key could not be made: ${error.message}`);
    return;
  }
  isDownloaded = false;
  say("The key is ready. Download it to go on.");
  show();
  part("download").focus();
}

async function downloadKey() {
  const bytes = new Uint8Array(await crypto.subtle.exportKey("pkcs8", keys.privateKey));
  const address = URL.createObjectURL(new Blob([pem("PRIVATE KEY", bytes)], { type: "application/x-pem-file" }));
  const link = document.createElement("a");
  link.href = address;
  link.download = fileName();
  link.click();
  setTimeout(() => URL.revokeObjectURL(address), 10000);
  isDownloaded = true;
  part("file").textContent = "Download again";
  say("The key was downloaded. You can issue the certificate now.");
  show();
}

// Before the listener of app.js, so that a stopped form does not count as sent.
form.addEventListener("submit", async (event) => {
  if (!usesBrowserKey() || event.defaultPrevented) return;
  event.preventDefault();
  fail("");
  if (!keys || !isDownloaded) {
    fail("Make and download the key first.");
    return;
  }
  try {
    // The names may have changed since the key was made; the request always says what the form says.
    const names = parseNames(form.elements.common_name.value, form.elements.sans.value);
    form.elements.csr_pem.value = await buildRequest(keys, names);
  } catch (error) {
    fail(error.message);
    return;
  }
  part("submit").setAttribute("aria-busy", "true");
  window.removeEventListener("beforeunload", warn);
  form.submit();
});

function warn(event) {
  if (keys && !isDownloaded) event.preventDefault();
}

part("make").addEventListener("click", makeKey);
part("again").addEventListener("click", makeKey);
part("download").addEventListener("click", downloadKey);
window.addEventListener("beforeunload", warn);
show();
