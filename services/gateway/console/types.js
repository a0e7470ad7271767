/**
 * Shapes of what the gateway sends, for editors and the type checker. No code.
 *
 * @typedef {{input: number, cached: number, output: number, thoughts: number, tool: number, total: number,
 *   certainty: "measured" | "estimated" | "unknown"}} Tokens
 * @typedef {{id: string, kind: string, name?: string | null, status: string, model: string | null,
 *   tokens: Tokens, attempts: number, items: number | null, characters: number, truncated: boolean,
 *   finish_reason: string | null}} RunNode
 * @typedef {{by: string, reason: string | null, at: string, heard_at: string | null, closed_at: string | null}} Stop
 * @typedef {{position: number, ahead: number, estimated_wait_seconds: number | null}} Queue
 * @typedef {{id: string, user_id: string, engine: {id: string, name: string, version: number}, status: string,
 *   kind: string, input: Record<string, unknown>, nodes: RunNode[], tokens: Tokens,
 *   error: {code: string, message: string, node: string | null} | null, created_at: string,
 *   started_at: string | null, ended_at: string | null, expires_at: string | null, attempt: number,
 *   worker: string | null, stop: Stop | null, queue: Queue | null}} Execution
 * @typedef {{type: "text" | "long_text" | "number" | "choice" | "list", required?: boolean,
 *   default?: string | number | string[] | null, title?: string | null, description?: string | null,
 *   choices?: string[] | null, max_length?: number | null, minimum?: number | null, maximum?: number | null}} Input
 * @typedef {{id: string, name: string, description: string | null, version: number, shared: boolean,
 *   owner: boolean, inputs: Record<string, Input>}} Engine
 * @typedef {{id: string, service: string, host: string, pid: number, version: string, started_at: string,
 *   uptime_seconds: number, state: string, memory_bytes: number, cpu_percent: number, loop_delay_ms: number,
 *   slots?: {total: number, used: number}, gone_seconds?: number,
 *   executions: {id: string, node: string | null, since: string}[]}} Worker
 */
export {};
