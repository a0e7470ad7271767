/** A person's wish to stop a run, from the click to the gateway's answer. */
import { signal } from "./vendor/signals.js";
import { Problem, getJson } from "./api.js";
import { serverNow } from "./clock.js";

export class StopRequest {
  /** @param {import("./run_stream.js").RunStream} stream */
  constructor(stream) {
    this.stream = stream;
    /** When the click came, by the server's clock; null before it, and again when it could not be delivered. */
    this.askedAt = signal(/** @type {number | null} */ (null));
    this.forcedAt = signal(/** @type {number | null} */ (null));
    this.problem = signal(/** @type {Problem | null} */ (null));
  }

  stop() {
    return this.#send(this.askedAt, {});
  }

  force() {
    return this.#send(this.forcedAt, { force: true });
  }

  /** @param {import("./vendor/signals.js").Signal<number | null>} at @param {{force?: boolean}} body */
  async #send(at, body) {
    if (at.value !== null) return;
    at.value = serverNow();
    this.problem.value = null;
    try {
      this.stream.takeAnswer(await getJson(`${this.stream.path}/stop`, { method: "POST", body }));
    } catch (error) {
      if (!(error instanceof Problem)) throw error;
      at.value = null;
      this.problem.value = error;
    }
  }
}
