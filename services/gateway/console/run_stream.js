/** A run as the page shows it: signals fed by its event stream, at most one change a frame. */
import { batch, signal } from "./vendor/signals.js";
import { Problem, request } from "./api.js";
import { followEvents } from "./event_stream.js";
import { ENDS, applyEvent, emptyRun } from "./run_fold.js";

export class RunStream {
  /** @param {string} id */
  constructor(id) {
    this.id = id;
    this.path = `/v1/executions/${encodeURIComponent(id)}`;
    this.run = signal(emptyRun());
    this.link = signal(/** @type {"connecting" | "live" | "reconnecting" | "ended"} */ ("connecting"));
    /** Changes whenever a text grew, since texts grow in place. */
    this.frame = signal(0);
    this.problem = signal(/** @type {Problem | null} */ (null));
    this.output = signal(/** @type {string | null} */ (null));
    /** What the output can be downloaded as. */
    this.formats = signal(/** @type {string[]} */ ([]));
    this.outputProblem = signal(/** @type {Problem | null} */ (null));
    /** Whether the run had already ended when this page first saw it. */
    this.wasOver = signal(false);
    this.closing = new AbortController();
    this.latest = emptyRun();
    this.scheduled = 0;
  }

  /** Follows the run to its end. Returns without a word when closed. */
  async open() {
    try {
      await followEvents(`${this.path}/events`, {
        signal: this.closing.signal,
        onLink: (link) => (this.link.value = link),
        onEvent: ({ event, data }) => this.#take(event, JSON.parse(data)),
      });
    } catch (error) {
      if (!(error instanceof Problem)) throw error;
      this.problem.value = error;
    }
    if (this.closing.signal.aborted || !this.latest.ended) return;
    this.link.value = "ended";
    await this.loadOutput();
  }

  close() {
    this.closing.abort();
    cancelAnimationFrame(this.scheduled);
  }

  /** The end says where the output is; what is shown and saved is exactly what the gateway keeps. */
  async loadOutput() {
    this.outputProblem.value = null;
    try {
      const headers = { Accept: "text/plain" };
      const response = await request(`${this.path}/output`, { headers, signal: this.closing.signal });
      const text = await response.text();
      batch(() => {
        this.formats.value = (response.headers.get("X-Lekhika-Formats") ?? "").split(", ");
        this.output.value = text;
      });
    } catch (error) {
      if (this.closing.signal.aborted) return;
      if (!(error instanceof Problem)) throw error;
      this.outputProblem.value = error;
    }
  }

  /** An answer to a stop is a newer truth than the stream's last event. @param {import("./types.js").Execution} execution */
  takeAnswer(execution) {
    const status = this.latest.execution?.status ?? "";
    if (this.latest.ended || (ENDS.has(status) && !ENDS.has(execution.status))) return;
    this.latest = { ...this.latest, execution };
    this.#show();
  }

  /** @param {string} event @param {any} data */
  #take(event, data) {
    if (event === "snapshot" && this.latest.execution === null) {
      this.wasOver.value = ENDS.has(data.status);
    }
    this.latest = applyEvent(this.latest, event, data);
    if (this.latest.ended) this.#show();
    else if (this.scheduled === 0) this.scheduled = requestAnimationFrame(() => this.#show());
    return this.latest.ended;
  }

  #show() {
    cancelAnimationFrame(this.scheduled);
    this.scheduled = 0;
    batch(() => {
      this.run.value = this.latest;
      this.frame.value += 1;
    });
  }
}
