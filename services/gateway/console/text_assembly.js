/** Puts the text of a node together from pieces. Offsets count code points; JavaScript's lengths do not. Pure. */

/** @typedef {{offset: number, text: string}} Piece */

/** @param {string} text @returns {number} code points, as the gateway counts characters */
export function codePointLength(text) {
  let count = 0;
  for (const _ of text) count += 1;
  return count;
}

/** @param {string} text @param {number} points @returns {number} the UTF-16 index where that many code points end */
function indexAfter(text, points) {
  let index = 0;
  for (let left = points; left > 0 && index < text.length; left -= 1) {
    index += /** @type {number} */ (text.codePointAt(index)) > 0xffff ? 2 : 1;
  }
  return index;
}

/** The text of one node. `revision` changes when the text did anything but grow at its end. */
export class NodeText {
  constructor() {
    this.attempt = 0;
    this.text = "";
    this.length = 0;
    this.revision = 0;
    /** @type {Piece[]} pieces beyond a gap, waiting for what comes before them */
    this.ahead = [];
  }

  /** Whether something is known to be missing in the middle. */
  get hasGap() {
    return this.ahead.length > 0;
  }

  /** A later attempt begins the text anew; an earlier one is ignored. @param {number} attempt @returns {boolean} */
  begin(attempt) {
    if (attempt > this.attempt) {
      this.attempt = attempt;
      this.#replace("");
      this.ahead = [];
    }
    return attempt === this.attempt;
  }

  /** @param {number} attempt @param {Piece} piece */
  add(attempt, piece) {
    if (!this.begin(attempt)) return;
    this.ahead.push(piece);
    this.ahead.sort((one, other) => one.offset - other.offset);
    while (this.ahead.length > 0 && this.ahead[0].offset <= this.length) {
      this.#join(/** @type {Piece} */ (this.ahead.shift()));
    }
  }

  /** @param {Piece} piece that starts within the text, or right at its end */
  #join({ offset, text }) {
    const start = offset === this.length ? this.text.length : indexAfter(this.text, offset);
    const known = this.text.slice(start);
    if (known.startsWith(text)) return;
    if (text.startsWith(known)) {
      const more = text.slice(known.length);
      this.text += more;
      this.length += codePointLength(more);
      return;
    }
    // The same place with other words: a call that was tried again. The later piece is the true one.
    this.#replace(this.text.slice(0, start) + text);
  }

  /** @param {string} text */
  #replace(text) {
    this.text = text;
    this.length = codePointLength(text);
    this.revision += 1;
  }
}
