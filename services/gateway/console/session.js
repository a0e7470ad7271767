/** Who is logged in: the answer of GET /v1/me for the present credential. */
import { effect, signal } from "./vendor/signals.js";
import { Problem, getJson, request } from "./api.js";
import { credential, forgetCredential, rememberKey, rememberSession } from "./credentials.js";

/** @typedef {{user_id: string, email: string, name: string, role: string, provider: string}} Me */

/** Null until the credential was accepted. */
export const me = signal(/** @type {Me | null} */ (null));

/** Why GET /v1/me failed for a stored credential, other than by a refusal of it. */
export const meProblem = signal(/** @type {Problem | null} */ (null));

// A key travels in a header: other characters could not even be sent.
const SENDABLE = /^[\x21-\x7e]+$/;

/** @param {string} typed @returns {string | null} what is wrong with it, before anything is sent */
export function faultOf(typed) {
  if (typed === "") return "Enter your API key.";
  if (!SENDABLE.test(typed)) return "This is not an API key: it has spaces or characters that no key has.";
  return null;
}

/** @param {string} typed */
export async function logInWithKey(typed) {
  rememberKey(typed);
  await loadMe();
}

/** Raises Problem when the gateway refuses. @param {string} email @param {string} password */
export async function logInWithPassword(email, password) {
  const answer = await getJson("/v1/session", { method: "POST", body: { email, password } });
  rememberSession(answer.csrf_token);
  await loadMe();
}

export async function logOut() {
  for (const name of Object.keys(localStorage)) {
    if (name.startsWith("lekhika.")) localStorage.removeItem(name);
  }
  if (credential.value?.kind === "session") {
    try {
      await request("/v1/session", { method: "DELETE" });
    } catch (error) {
      if (!(error instanceof Problem)) throw error;
      // Ended or not there any more: out all the same. Not reached: the cookie is still good, so say so.
      if (error.status === 0 || error.status >= 500) {
        meProblem.value = error;
        me.value = null;
        return;
      }
    }
  }
  forgetCredential();
}

/** Asks who the present credential belongs to. A refusal leads back to the log-in page by itself. */
export async function loadMe() {
  const asked = credential.value;
  meProblem.value = null;
  try {
    const answer = await getJson("/v1/me");
    if (asked === credential.value) me.value = answer;
  } catch (error) {
    if (!(error instanceof Problem)) throw error;
    if (asked === credential.value && error.status !== 401) meProblem.value = error;
  }
}

/** Whether the fleet is shown. The gateway decides it again at each request. */
export function isSuperadmin() {
  return me.value?.role === "superadmin";
}

effect(() => {
  if (credential.value === null) me.value = null;
});
