/** Who is logged in: the answer of GET /v1/me for the present key. */
import { effect, signal } from "./vendor/signals.js";
import { Problem, getJson } from "./api.js";
import { forgetKey, key, rememberKey } from "./credentials.js";

/** @typedef {{user_id: string, email: string, name: string, role: string, provider: string}} Me */

/** Null until the key was accepted. */
export const me = signal(/** @type {Me | null} */ (null));

/** Why GET /v1/me failed for a stored key, other than by a refusal of it. */
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
export async function logIn(typed) {
  rememberKey(typed);
  await loadMe();
}

export function logOut() {
  for (const name of Object.keys(localStorage)) {
    if (name.startsWith("lekhika.")) localStorage.removeItem(name);
  }
  forgetKey();
}

/** Asks who the present key belongs to. A refusal leads back to the log-in page by itself. */
export async function loadMe() {
  const asked = key.value;
  meProblem.value = null;
  try {
    const answer = await getJson("/v1/me");
    if (asked === key.value) me.value = answer;
  } catch (error) {
    if (!(error instanceof Problem)) throw error;
    if (asked === key.value && error.status !== 401) meProblem.value = error;
  }
}

/** Whether the fleet is shown. The gateway decides it again at each request. */
export function isSuperadmin() {
  return me.value?.role === "superadmin";
}

effect(() => {
  if (key.value === null) me.value = null;
});
