/**
 * What this tab calls with: an API key, which lives in sessionStorage, so that closing the tab forgets it; or the session
 * of this browser, whose cookie no script can read. Of a session the CSRF token's cookie tells that there is one.
 */
import { signal } from "./vendor/signals.js";

/** @typedef {{kind: "key", key: string} | {kind: "session", csrf: string}} Credential */

const PLACE = "lekhika.key";
const CSRF_COOKIE = "lekhika_csrf";

/** Null when nobody is logged in. */
export const credential = signal(/** @type {Credential | null} */ (stored()));

/** Why the last credential was refused, in the words of the gateway; null when it was not. */
export const refusal = signal(/** @type {string | null} */ (null));

/** @returns {Credential | null} */
function stored() {
  const key = sessionStorage.getItem(PLACE);
  if (key !== null) return { kind: "key", key };
  const csrf = document.cookie.split("; ").find((part) => part.startsWith(`${CSRF_COOKIE}=`));
  return csrf === undefined ? null : { kind: "session", csrf: csrf.slice(CSRF_COOKIE.length + 1) };
}

/** @param {string} key */
export function rememberKey(key) {
  sessionStorage.setItem(PLACE, key);
  refusal.value = null;
  credential.value = { kind: "key", key };
}

/** The browser keeps the session's cookie itself. @param {string} csrf */
export function rememberSession(csrf) {
  refusal.value = null;
  credential.value = { kind: "session", csrf };
}

/** @param {string | null} [why] what the log-in page should say */
export function forgetCredential(why = null) {
  sessionStorage.removeItem(PLACE);
  if (credential.value?.kind === "session") document.cookie = `${CSRF_COOKIE}=; Max-Age=0; Path=/; SameSite=Lax`;
  refusal.value = why;
  credential.value = null;
}

/** @param {Credential | null} used @returns {Record<string, string>} */
export function headersOf(used) {
  if (used === null) return {};
  return used.kind === "key" ? { Authorization: `Bearer ${used.key}` } : { "X-CSRF-Token": used.csrf };
}
