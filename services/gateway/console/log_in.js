/** The log-in page: email and password, or an API key; and a plain answer when it is refused. */
import { useEffect, useRef } from "./vendor/preact_hooks.js";
import { signal, useSignal } from "./vendor/signals.js";
import { Problem } from "./api.js";
import { refusal } from "./credentials.js";
import { html } from "./html.js";
import { faultOf, logInWithKey, logInWithPassword } from "./session.js";

/** Kept beside the page, which goes and comes with each attempt. */
const withKey = signal(false);

export function LogIn() {
  const change = (/** @type {boolean} */ key) => {
    withKey.value = key;
    refusal.value = null;
  };
  return html`<main class="alone">
    <div class="card log-in">
      <h1><img src="/console/icon.svg" alt="" width="36" height="36" />Lekhika</h1>
      <p class="muted">Runs multi-step AI workflows, and shows every word and token as they come.</p>
      ${withKey.value ? html`<${KeyForm} />` : html`<${PasswordForm} />`}
      <p class="other"><button type="button" class="quiet" onClick=${() => change(!withKey.value)}>
        ${withKey.value ? "Use email and password" : "Use an API key"}</button></p>
    </div>
  </main>`;
}

function PasswordForm() {
  const email = useRef(/** @type {HTMLInputElement | null} */ (null));
  const password = useRef(/** @type {HTMLInputElement | null} */ (null));
  const fault = useSignal(/** @type {string | null} */ (null));
  const asking = useSignal(false);
  useEffect(() => email.current?.focus(), []);
  const submit = async (/** @type {Event} */ event) => {
    event.preventDefault();
    if (asking.value) return;
    const given = { email: email.current?.value.trim() ?? "", password: password.current?.value ?? "" };
    refusal.value = null;
    fault.value = given.email === "" ? "Enter your email address." : given.password === "" ? "Enter your password." : null;
    if (fault.value !== null) return (given.email === "" ? email : password).current?.focus();
    asking.value = true;
    try {
      await logInWithPassword(given.email, given.password);
    } catch (error) {
      if (!(error instanceof Problem)) throw error;
      fault.value = error.message;
      password.current?.select();
    } finally {
      asking.value = false;
    }
  };
  const problem = fault.value ?? refusal.value;
  return html`<form onSubmit=${submit} novalidate aria-describedby=${problem ? "log-in-problem" : undefined}>
    <div class="field">
      <label for="email">Email</label>
      <input id="email" ref=${email} type="email" name="email" autocomplete="username" autocapitalize="off" spellcheck="false" />
    </div>
    <div class="field">
      <label for="password">Password</label>
      <input id="password" ref=${password} type="password" name="password" autocomplete="current-password" />
      ${problem && html`<p id="log-in-problem" class="field-problem" role="alert">${problem}</p>`}
      <p class="hint">On a local stack it is in <code>credentials.json</code> in the stack's home.</p>
    </div>
    <button class="primary" type="submit" aria-disabled=${String(asking.value)}>Log in</button>
  </form>`;
}

function KeyForm() {
  const field = useRef(/** @type {HTMLInputElement | null} */ (null));
  const fault = useSignal(/** @type {string | null} */ (null));
  const shown = useSignal(false);
  useEffect(() => field.current?.focus(), []);
  const submit = (/** @type {Event} */ event) => {
    event.preventDefault();
    const typed = field.current?.value.trim() ?? "";
    fault.value = faultOf(typed);
    refusal.value = null;
    if (fault.value === null) void logInWithKey(typed);
    else field.current?.focus();
  };
  const problem = fault.value ?? (refusal.value && `The key was not accepted. ${refusal.value}`);
  return html`<form onSubmit=${submit} novalidate>
    <div class="field">
      <label for="key">API key</label>
      <div class="joined">
        <input id="key" ref=${field} type=${shown.value ? "text" : "password"} name="key" placeholder="lk_…"
          autocomplete="off" autocapitalize="off" spellcheck="false" aria-invalid=${problem ? "true" : undefined}
          aria-describedby=${problem ? "key-problem key-hint" : "key-hint"} />
        <button type="button" class="quiet" aria-pressed=${String(shown.value)} aria-label="Show the key"
          onClick=${() => (shown.value = !shown.value)}>${shown.value ? "Hide" : "Show"}</button>
      </div>
      ${problem && html`<p id="key-problem" class="field-problem" role="alert">${problem}</p>`}
      <p id="key-hint" class="hint">Kept in this tab until you close it. On a local stack it is in${" "}
        <code>credentials.json</code> in the stack's home.</p>
    </div>
    <button class="primary" type="submit">Log in</button>
  </form>`;
}
