/** HTTP to the gateway: the credential, JSON, problems, and how far the browser's clock is from the server's. */
import { credential, forgetCredential, headersOf } from "./credentials.js";
import { noteServerTime } from "./clock.js";

/** A refusal by the gateway (RFC 9457), or status 0 when it could not be reached. */
export class Problem extends Error {
  /**
   * @param {number} status
   * @param {{title?: string, detail?: string, code?: string, errors?: {field: string, detail: string}[]}} body
   */
  constructor(status, body) {
    super(body.detail || body.title || `The gateway answered ${status}.`);
    this.status = status;
    this.code = body.code ?? "";
    this.errors = body.errors ?? [];
    /** @type {any} The whole body; a 410 carries the usage of what was pruned. */
    this.body = body;
  }
}

const UNREACHABLE = { title: "The gateway can not be reached.", detail: "The gateway can not be reached." };

/**
 * Sends one request with the credential. Raises Problem for every answer that is not 2xx; a 401 also ends the session.
 *
 * @param {string} path
 * @param {{method?: string, body?: unknown, headers?: Record<string, string>, signal?: AbortSignal}} [options]
 * @returns {Promise<Response>}
 */
export async function request(path, { method = "GET", body, headers = {}, signal } = {}) {
  const used = credential.value;
  const response = await reach(path, {
    method,
    signal,
    cache: "no-store",
    headers: {
      ...headersOf(used),
      ...(body === undefined ? {} : { "Content-Type": "application/json" }),
      ...headers,
    },
    body: body === undefined ? undefined : JSON.stringify(body),
  });
  noteServerTime(response.headers.get("Date"));
  if (response.ok) return response;
  const problem = new Problem(response.status, await problemBody(response));
  // An answer to a credential that was exchanged meanwhile says nothing about the present one.
  if (problem.status === 401 && used !== null && used === credential.value) forgetCredential(problem.message);
  throw problem;
}

/** @param {string} path @param {Parameters<typeof request>[1]} [options] @returns {Promise<any>} */
export async function getJson(path, options) {
  const response = await request(path, options);
  return response.json();
}

/** @param {string} path @param {RequestInit} init */
async function reach(path, init) {
  try {
    return await fetch(path, init);
  } catch (error) {
    if (init.signal?.aborted) throw error;
    throw new Problem(0, UNREACHABLE);
  }
}

/** @param {Response} response */
async function problemBody(response) {
  try {
    return await response.json();
  } catch {
    return { title: `The gateway answered ${response.status} ${response.statusText}` };
  }
}
