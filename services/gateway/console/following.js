/** Keeps the text that is being written in view, until the reader moves away by hand. */
import { signal } from "./vendor/signals.js";

const MARGIN_PX = 72;
const BACK_KEYS = new Set(["ArrowUp", "PageUp", "Home"]);

export class Follower {
  constructor() {
    this.on = signal(true);
    /** @type {HTMLElement | null} */
    this.leader = null;
    this.grown = (/** @type {HTMLElement} */ writing) => this.#follow(writing);
    this.wheel = (/** @type {WheelEvent} */ event) => event.deltaY < 0 && this.pause();
    this.touch = () => this.pause();
    this.key = (/** @type {KeyboardEvent} */ event) => BACK_KEYS.has(event.key) && this.pause();
    this.select = () => document.getSelection()?.type === "Range" && this.pause();
  }

  attach() {
    window.addEventListener("wheel", this.wheel, { passive: true });
    window.addEventListener("touchmove", this.touch, { passive: true });
    window.addEventListener("keydown", this.key);
    document.addEventListener("selectionchange", this.select);
  }

  detach() {
    window.removeEventListener("wheel", this.wheel);
    window.removeEventListener("touchmove", this.touch);
    window.removeEventListener("keydown", this.key);
    document.removeEventListener("selectionchange", this.select);
  }

  pause() {
    this.on.value = false;
  }

  /** @param {boolean} on */
  set(on) {
    this.on.value = on;
    if (on && this.leader?.isConnected) this.#scrollTo(this.leader);
  }

  /** The run has ended: the times of a stop and the output stand at the top. */
  finish() {
    if (this.on.value) window.scrollTo({ top: 0, behavior: "instant" });
  }

  /** Of several texts that grow at once, the first keeps the view until it is done. @param {HTMLElement} writing */
  #follow(writing) {
    const leads = this.leader?.isConnected && this.leader.classList.contains("writing");
    if (!leads) this.leader = writing;
    if (this.on.value && this.leader === writing) this.#scrollTo(writing);
  }

  /** @param {HTMLElement} element */
  #scrollTo(element) {
    const below = element.getBoundingClientRect().bottom + MARGIN_PX - window.innerHeight;
    if (below > 0) window.scrollBy({ top: below, behavior: "instant" });
  }
}
