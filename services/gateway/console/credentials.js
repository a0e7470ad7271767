/** The API key of this tab. It lives in sessionStorage only: closing the tab forgets it. */
import { signal } from "./vendor/signals.js";

const PLACE = "lekhika.key";

/** The key, or null when nobody is logged in. */
export const key = signal(sessionStorage.getItem(PLACE));

/** Why the last key was refused, in the words of the gateway; null when it was not. */
export const refusal = signal(/** @type {string | null} */ (null));

/** @param {string} value */
export function rememberKey(value) {
  sessionStorage.setItem(PLACE, value);
  refusal.value = null;
  key.value = value;
}

/** @param {string | null} [why] what the log-in page should say */
export function forgetKey(why = null) {
  sessionStorage.removeItem(PLACE);
  refusal.value = why;
  key.value = null;
}
