// The query service's own API (query/client/wire.go describes it).

export interface Column {
  name: string
  type: string
}

// Cell is a value as JSON has it. A long too large for a JavaScript number is
// a string of its digits.
export type Cell = null | boolean | number | string | Cell[] | { [key: string]: Cell }

export interface Stats {
  rows: number
  readRows: number
  readBytes: number
  totalRows?: number
  memoryBytes: number
  elapsedMs: number
  compileMs: number
}

export interface Render {
  visualization: string
  properties?: Record<string, string>
}

export interface Problem {
  code: string
  message: string
  line?: number
  column?: number
  length?: number
  hint?: string
}

export interface Table {
  name: string
  doc?: string
  columns: { name: string; type: string; doc?: string }[]
}

export interface Schema {
  database: string
  tables: Table[]
}

export interface Func {
  name: string
  group: string
  doc?: string
  aggregate: boolean
  replacedBy?: string
  signatures: string[]
}

export interface Explained {
  sql: string
  tables: string[]
  rollup: string
  rollupWhyNot: string
  estimatedRows: number
  plan: string
}

export interface Ask {
  query: string
  parameters?: Record<string, string>
  start?: string
  end?: string
}

// Failed is an answer that is an error: what the service said, or that it
// said nothing.
export class Failed extends Error {
  constructor(readonly problems: Problem[]) {
    super(problems[0]?.message ?? "the query failed")
  }
}

interface Line {
  columns?: Column[]
  rows?: Cell[][]
  progress?: Stats
  done?: { stats: Stats; truncated: boolean; notices?: string[]; render?: Render }
  error?: Problem
}

// Listener hears of a running query.
export interface Listener {
  columns(columns: Column[]): void
  rows(rows: Cell[][]): void
  progress(stats: Stats): void
}

const tokenKey = "hubscope.token"

export class API {
  // skew is how far the service's clock is ahead of ours, in milliseconds.
  private skew = 0
  private asking: Promise<string | null> | undefined
  // declined says that the user has no token; running a query asks again, what
  // the page does by itself does not.
  private declined = false

  // askToken asks the user for a bearer token; null means they have none.
  constructor(private readonly askToken: (refused: boolean) => Promise<string | null>) {}

  get hasToken(): boolean {
    return sessionStorage.getItem(tokenKey) !== null
  }

  forgetToken(): void {
    sessionStorage.removeItem(tokenKey)
  }

  // now is the time by the service's clock.
  now(): number {
    return Date.now() + this.skew
  }

  schema(): Promise<Schema> {
    return this.json<Schema>("GET", "schema")
  }

  async functions(): Promise<Func[]> {
    return (await this.json<{ functions: Func[] }>("GET", "functions")).functions
  }

  async validate(ask: Ask, signal?: AbortSignal): Promise<Problem[]> {
    return (await this.json<{ errors: Problem[] }>("POST", "validate", ask, signal)).errors
  }

  explain(ask: Ask): Promise<Explained> {
    return this.json<Explained>("POST", "explain", ask)
  }

  // cancel ends a running query in the engine.
  async cancel(id: string): Promise<void> {
    await this.send("DELETE", "queries/" + encodeURIComponent(id))
  }

  // query runs a query and returns how it ended. What has come before an error
  // has been told to the listener.
  async query(ask: Ask & { id: string }, listener: Listener, signal: AbortSignal): Promise<NonNullable<Line["done"]>> {
    this.declined = false
    const response = await this.send("POST", "query", ask, signal, "application/x-ndjson")
    if (!response.body) throw unreachable()
    const reader = response.body.pipeThrough(new TextDecoderStream()).getReader()
    let rest = ""
    let done: Line["done"]
    const take = (text: string) => {
      if (text === "") return
      const line = parse(text)
      if (line.error) throw new Failed([line.error])
      if (line.columns) listener.columns(line.columns)
      if (line.rows) listener.rows(line.rows)
      if (line.progress) listener.progress(line.progress)
      if (line.done) done = line.done
    }
    try {
      for (;;) {
        const piece = await reader.read().catch((error: unknown) => {
          throw signal.aborted ? error : new Failed([{ code: "Network", message: "the connection broke before the end of the answer" }])
        })
        if (piece.done) break
        const lines = (rest + piece.value).split("\n")
        rest = lines.pop() ?? ""
        lines.forEach(take)
      }
      take(rest)
    } finally {
      reader.cancel().catch(() => undefined)
    }
    if (!done) throw new Failed([{ code: "Network", message: "the answer ended too early" }])
    return done
  }

  private async json<T>(method: string, path: string, body?: unknown, signal?: AbortSignal): Promise<T> {
    return (await (await this.send(method, path, body, signal)).json()) as T
  }

  private async send(method: string, path: string, body?: unknown, signal?: AbortSignal, accept = "application/json"): Promise<Response> {
    for (let refused = false; ; refused = true) {
      const headers: Record<string, string> = { Accept: accept }
      if (body !== undefined) headers["Content-Type"] = "application/json"
      const token = sessionStorage.getItem(tokenKey)
      if (token !== null) headers["Authorization"] = "Bearer " + token
      const response = await fetch("api/v1/" + path, {
        method,
        headers,
        body: body === undefined ? null : JSON.stringify(body),
        signal: signal ?? null,
      }).catch((error: unknown) => {
        throw signal?.aborted ? error : unreachable()
      })
      const date = Date.parse(response.headers.get("Date") ?? "")
      // The header has whole seconds; a smaller difference is none.
      if (date && Math.abs(date - Date.now()) > 2000) this.skew = date - Date.now()
      if (response.ok) return response
      if (response.status === 401) {
        // Another request may have got one meanwhile.
        if (token === sessionStorage.getItem(tokenKey) && !(await this.newToken(refused || token !== null))) {
          throw new Failed([{ code: "Unauthorized", message: "the query service wants a token" }])
        }
        continue
      }
      throw await failure(response)
    }
  }

  // newToken asks once for all requests that wait for one.
  private async newToken(refused: boolean): Promise<boolean> {
    if (this.declined) return false
    this.asking ??= this.askToken(refused).finally(() => {
      this.asking = undefined
    })
    const token = await this.asking
    if (token === null) {
      this.declined = true
      return false
    }
    sessionStorage.setItem(tokenKey, token)
    return true
  }
}

function unreachable(): Failed {
  return new Failed([{ code: "Network", message: "the query service does not answer" }])
}

async function failure(response: Response): Promise<Failed> {
  try {
    const body = (await response.json()) as { error?: Problem; errors?: Problem[] }
    const problems = body.errors ?? (body.error ? [body.error] : [])
    if (problems.length > 0) return new Failed(problems)
  } catch {
    // no JSON: something between the service and us has answered
  }
  return new Failed([{ code: "HTTP " + response.status, message: response.statusText || "the query service refused the request" }])
}

// parse reads a line. Only a line that has a number of 16 digits or more can
// have one that a JavaScript number cannot hold; it is read slower, and keeps
// the digits.
function parse(text: string): Line {
  if (!/\d{16}/.test(text)) return JSON.parse(text) as Line
  return JSON.parse(text, (_key, value: unknown, context?: { source?: string }) =>
    typeof value === "number" && !Number.isSafeInteger(value) && context?.source && /^-?\d+$/.test(context.source) ? context.source : value,
  ) as Line
}
