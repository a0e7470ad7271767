/** Stacked bars of tokens over time, drawn as SVG. The table below it holds the same figures. */
import { useLayoutEffect, useRef } from "./vendor/preact_hooks.js";
import { useSignal } from "./vendor/signals.js";
import { whole } from "./format.js";
import { html } from "./html.js";
import { RANGES, roundUp } from "./usage_buckets.js";

/** @typedef {import("./usage_buckets.js").Bar} Bar */
/** @typedef {import("./usage_buckets.js").Range} Range */

const HEIGHT = 220;
const LEFT = 48;
const BOTTOM = 24;
const TOP = 10;
const LABEL_PX = 60;

const COMPACT = new Intl.NumberFormat(undefined, { notation: "compact" });
const HOUR = new Intl.DateTimeFormat(undefined, { hour: "2-digit", minute: "2-digit", hour12: false });
const DAY = new Intl.DateTimeFormat(undefined, { day: "numeric", month: "short" });
const DAY_HOUR = new Intl.DateTimeFormat(undefined, {
  weekday: "short", day: "numeric", month: "short", hour: "2-digit", minute: "2-digit", hour12: false,
});

/** @param {number} start @param {Range} range */
export function bucketName(start, range) {
  return RANGES[range].bucket === "hour" ? DAY_HOUR.format(start) : DAY.format(start);
}

/** @param {{bars: Bar[], range: Range, label: string}} props */
export function UsageChart({ bars, range, label }) {
  const [place, width] = useWidth();
  const top = roundUp(Math.max(...bars.map(({ total }) => total)));
  const step = (width - LEFT) / bars.length;
  const y = (/** @type {number} */ value) => TOP + (HEIGHT - TOP - BOTTOM) * (1 - value / top);
  return html`<div ref=${place}><svg class="chart" viewBox="0 0 ${width} ${HEIGHT}" height=${HEIGHT} role="img" aria-label=${label}>
    ${[0, 0.5, 1].map((share) => html`<g class="grid">
      <line x1=${LEFT} x2=${width} y1=${y(top * share)} y2=${y(top * share)} />
      <text x=${LEFT - 8} y=${y(top * share) + 4} text-anchor="end">${COMPACT.format(top * share)}</text></g>`)}
    ${bars.map((bar, index) => html`<${Column} bar=${bar} range=${range} x=${LEFT + index * step} width=${step} y=${y} />`)}
    ${axisLabels(bars, range, step).map(([index, name]) => html`
      <text class="axis" x=${LEFT + (index + 0.5) * step} y=${HEIGHT - 6} text-anchor="middle">${name}</text>`)}
  </svg></div>`;
}

/** @returns {[{current: HTMLElement | null}, number]} an element, and its width in px */
function useWidth() {
  const place = useRef(/** @type {HTMLElement | null} */ (null));
  const width = useSignal(960);
  useLayoutEffect(() => {
    const element = /** @type {HTMLElement} */ (place.current);
    const measure = () => (width.value = Math.max(LEFT * 2, element.clientWidth));
    measure();
    const observer = new ResizeObserver(measure);
    observer.observe(element);
    return () => observer.disconnect();
  }, []);
  return [place, width.value];
}

/** @param {{bar: Bar, range: Range, x: number, width: number, y: (value: number) => number}} props */
function Column({ bar, range, x, width, y }) {
  const gap = Math.min(3, width * 0.2);
  let below = 0;
  const tip = [bucketName(bar.start, range), ...bar.parts.filter(({ total }) => total > 0)
    .map(({ group, total }) => `${group}: ${whole(total)} tokens`)].join("\n");
  return html`<g>
    <title>${tip}</title>
    <rect class="hover" x=${x} width=${width} y=${TOP} height=${HEIGHT - TOP - BOTTOM} />
    ${bar.parts.map(({ group, total }, index) => {
      const [from, to] = [below, (below += total)];
      return total > 0 && html`<rect key=${group} class=${`series-${index}`} x=${x + gap / 2} width=${width - gap}
        y=${y(to)} height=${Math.max(1, y(from) - y(to))} />`;
    })}
  </g>`;
}

/**
 * Round hours or days, as many as there is room for.
 *
 * @param {Bar[]} bars @param {Range} range @param {number} step px from bar to bar
 * @returns {[index: number, name: string][]}
 */
function axisLabels(bars, range, step) {
  const half = Math.ceil(LABEL_PX / 2 / step);
  const hours = [2, 4, 6, 12].find((every) => every * step >= LABEL_PX) ?? 24;
  const days = Math.ceil(LABEL_PX / (range === "7d" ? step * 24 : step));
  /** @type {[number, string][]} */
  const labels = [];
  bars.forEach(({ start }, index) => {
    if (index < half - 1 || index > bars.length - half) return;
    const date = new Date(start);
    const ago = Math.round((bars[bars.length - 1].start - start) / 86_400_000);
    if (range === "24h" && date.getHours() % hours === 0) labels.push([index, HOUR.format(start)]);
    if (range === "7d" && date.getHours() === 12 && ago % days === 0) labels.push([index, DAY.format(start)]);
    if (range === "30d" && ago % days === 0) labels.push([index, DAY.format(start)]);
  });
  return labels;
}
