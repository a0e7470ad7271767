/** Which Idempotency-Key a start carries, so that a double click or a retry after a cut makes one run. */

// Two clicks closer than this are one: the answer to the first may come before the second.
const DOUBLE_CLICK_MS = 1000;

let intent = { body: "", key: "", answeredAt: /** @type {number | null} */ (-Infinity) };

/** The same key for the same body while no answer has come, or has only just come. @param {string} body */
export function keyFor(body) {
  const answered = intent.answeredAt !== null && performance.now() - intent.answeredAt > DOUBLE_CLICK_MS;
  if (intent.body !== body || answered) intent = { body, key: randomKey(), answeredAt: null };
  return intent.key;
}

/** The gateway has decided about the start that carried this key. @param {string} key */
export function answered(key) {
  if (intent.key === key) intent = { ...intent, answeredAt: performance.now() };
}

/** crypto.randomUUID exists on secure origins only; a stack in a local network is none. */
function randomKey() {
  const bytes = crypto.getRandomValues(new Uint8Array(16));
  return Array.from(bytes, (byte) => byte.toString(16).padStart(2, "0")).join("");
}
