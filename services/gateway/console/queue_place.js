/** Where a queued run stands, in words. The gateway's estimate is said to be one. */
import { roughly, whole } from "./format.js";

/** @param {import("./types.js").Queue} queue */
export function placeWords({ position }) {
  return position === 1 ? "next" : `place ${whole(position)}`;
}

/** @param {import("./types.js").Queue} queue */
export function waitWords({ estimated_wait_seconds: seconds }) {
  return seconds === null ? "wait not known yet" : `${roughly(seconds)} (estimated)`;
}
