/** Asks again and again while the page is visible and the component is shown. */
import { useEffect, useMemo } from "./vendor/preact_hooks.js";
import { signal } from "./vendor/signals.js";
import { Problem } from "./api.js";

/**
 * @template T
 * @param {(signal: AbortSignal) => Promise<T>} ask
 * @param {number} everyMs from an answer to the next question
 * @param {unknown[]} on asks anew, from nothing, when one of these changes
 * @returns {{value: T | null, problem: Problem | null, again: () => void}} the last good answer stays beside a problem
 */
export function usePolling(ask, everyMs, on) {
  const poll = useMemo(() => new Poll(ask, everyMs), on);
  useEffect(() => {
    poll.start();
    return () => poll.stop();
  }, [poll]);
  return { value: poll.value.value, problem: poll.problem.value, again: () => poll.now() };
}

/** @template T */
class Poll {
  /** @param {(signal: AbortSignal) => Promise<T>} ask @param {number} everyMs */
  constructor(ask, everyMs) {
    this.ask = ask;
    this.everyMs = everyMs;
    this.value = signal(/** @type {T | null} */ (null));
    this.problem = signal(/** @type {Problem | null} */ (null));
    this.stopping = new AbortController();
    this.asking = false;
    this.timer = 0;
    this.shown = () => document.hidden || this.now();
  }

  start() {
    document.addEventListener("visibilitychange", this.shown);
    this.now();
  }

  stop() {
    document.removeEventListener("visibilitychange", this.shown);
    this.stopping.abort();
    clearTimeout(this.timer);
  }

  async now() {
    if (this.asking || this.stopping.signal.aborted) return;
    this.asking = true;
    clearTimeout(this.timer);
    try {
      const value = await this.ask(this.stopping.signal);
      this.value.value = value;
      this.problem.value = null;
    } catch (error) {
      if (this.stopping.signal.aborted) return;
      if (!(error instanceof Problem)) throw error;
      this.problem.value = error;
    } finally {
      this.asking = false;
    }
    if (!document.hidden) this.timer = window.setTimeout(() => this.now(), this.everyMs);
  }
}
