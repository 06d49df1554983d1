// Passkeys: asks the server for a challenge, the browser for a key, and sends the form.
// The forms are hidden until this script runs; password and codes work without it.
"use strict";

const octets = (text) =>
  Uint8Array.from(atob(text.replace(/-/g, "+").replace(/_/g, "/")), (one) => one.charCodeAt(0));

const text = (buffer) =>
  btoa(String.fromCharCode(...new Uint8Array(buffer)))
    .replace(/\+/g, "-")
    .replace(/\//g, "_")
    .replace(/=+$/, "");

const described = (list) => (list ?? []).map((one) => ({ ...one, id: octets(one.id) }));

function asked(kind, options) {
  const publicKey = { ...options, challenge: octets(options.challenge) };
  if (kind === "get") {
    publicKey.allowCredentials = described(options.allowCredentials);
    return navigator.credentials.get({ publicKey });
  }
  publicKey.user = { ...options.user, id: octets(options.user.id) };
  publicKey.excludeCredentials = described(options.excludeCredentials);
  return navigator.credentials.create({ publicKey });
}

function answer(credential) {
  const response = { clientDataJSON: text(credential.response.clientDataJSON) };
  for (const name of ["attestationObject", "authenticatorData", "signature", "userHandle"]) {
    const found = credential.response[name];
    if (found) response[name] = text(found);
  }
  const { id, type } = credential;
  return JSON.stringify({ id, type, rawId: text(credential.rawId), response });
}

async function show(form) {
  const failed = form.querySelector("[data-failed]");
  failed.textContent = "";
  const found = await fetch(form.dataset.options, { method: "POST", body: new FormData(form) });
  if (found.status === 401) {
    location.assign(`/desk/login?next=${encodeURIComponent(location.pathname)}`);
    return;
  }
  try {
    const { attempt, options } = await found.json();
    form.elements.credential.value = answer(await asked(form.dataset.passkey, options));
    form.elements.attempt.value = attempt;
  } catch {
    failed.textContent = failed.dataset.failed; // Refused, dismissed, or not of this site.
    return;
  }
  form.submit();
}

if (window.PublicKeyCredential) {
  for (const form of document.querySelectorAll("[data-passkey]")) {
    form.hidden = false;
    form.addEventListener("submit", (event) => {
      event.preventDefault();
      show(form);
    });
  }
  for (const words of document.querySelectorAll("[data-unscripted]")) words.hidden = true;
}
