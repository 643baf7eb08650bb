// What a cell looks like as text, by its Kusto type, and how cells sort.

import type { Cell, Column } from "./api"

const numeric = new Set(["int", "long", "real", "decimal"])

export function isNumeric(type: string): boolean {
  return numeric.has(type)
}

// full is the whole value as text: what is copied and what a CSV file has.
export function full(cell: Cell): string {
  if (cell === null) return ""
  return typeof cell === "object" ? JSON.stringify(cell) : String(cell)
}

// shown is the text of a cell in the table: times without what is zero at
// their end, and long values cut.
export function shown(cell: Cell, type: string): string {
  if (type === "datetime" && typeof cell === "string") return time(cell)
  const text = full(cell)
  return text.length > 300 ? text.slice(0, 300) + "…" : text
}

// time takes ISO text with seven decimals and Z.
export function time(iso: string): string {
  return iso.replace("T", " ").replace(/\.?0*Z$/, "").replace(/Z$/, "")
}

const ticksPerSecond = 1e7

// seconds reads Kusto's text of a timespan: [-][days.]hh:mm:ss[.fffffff].
export function seconds(text: string): number {
  const m = /^(-?)(?:(\d+)\.)?(\d+):(\d+):(\d+)(?:\.(\d{1,7}))?$/.exec(text)
  if (!m) return NaN
  const [days, hours, minutes, secs] = [m[2], m[3], m[4], m[5]].map((s) => Number(s ?? 0)) as [number, number, number, number]
  const n = ((days * 24 + hours) * 60 + minutes) * 60 + secs + Number((m[6] ?? "").padEnd(7, "0")) / ticksPerSecond
  return m[1] ? -n : n
}

// number returns a cell as a number for sorting and for charts, NaN for what
// is none. A time is in seconds since 1970.
export function number(cell: Cell, type: string): number {
  if (cell === null || cell === "") return NaN
  if (typeof cell === "boolean") return Number(cell)
  if (typeof cell === "string") {
    if (type === "datetime") return Date.parse(cell) / 1000
    if (type === "timespan") return seconds(cell)
  }
  return Number(cell)
}

// order returns the places of rows sorted by a column. Nulls are the smallest,
// as in Kusto.
export function order(rows: Cell[][], columns: Column[], at: number, descending: boolean): Uint32Array {
  const type = columns[at]?.type ?? ""
  const index = Uint32Array.from(rows, (_, i) => i)
  const sign = descending ? -1 : 1
  if (isNumeric(type) || type === "timespan" || type === "bool") {
    const keys = Float64Array.from(rows, (row) => {
      const n = number(row[at] ?? null, type)
      return Number.isNaN(n) ? -Infinity : n
    })
    return index.sort((a, b) => sign * compare(keys[a] as number, keys[b] as number) || a - b)
  }
  const keys = rows.map((row) => full(row[at] ?? null))
  return index.sort((a, b) => sign * compare(keys[a] as string, keys[b] as string) || a - b)
}

function compare<T extends number | string>(a: T, b: T): number {
  return a < b ? -1 : a > b ? 1 : 0
}

// literal writes a value as KQL does, undefined where a filter on it makes no
// sense.
export function literal(cell: Cell, type: string): string | undefined {
  if (cell === null || typeof cell === "object") return undefined
  switch (type) {
    case "string":
      return JSON.stringify(cell)
    case "long":
    case "int":
    case "bool":
      return String(cell)
    case "datetime":
    case "timespan":
    case "guid":
    case "decimal":
    case "real":
      return `${type}(${cell})`
    default:
      return undefined
  }
}

// scaled writes a number with three digits and a unit.
function scaled(n: number, units: string[]): string {
  let step = 0
  for (; n >= 999.5 && step < units.length - 1; step++) n /= 1000
  return (step === 0 ? String(n) : n.toFixed(n < 9.995 ? 2 : n < 99.95 ? 1 : 0)) + " " + (units[step] ?? "")
}

// count writes a number of rows.
export function count(n: number): string {
  return n < 1_000_000 ? n.toLocaleString("en") : scaled(n, ["", "K", "M", "G", "T"])
}

// bytes writes a number of bytes.
export function bytes(n: number): string {
  return scaled(n, ["B", "KB", "MB", "GB", "TB"])
}

// duration writes milliseconds.
export function duration(ms: number): string {
  if (ms < 1000) return `${ms < 10 ? ms.toFixed(1) : Math.round(ms)} ms`
  return ms < 60_000 ? `${(ms / 1000).toFixed(1)} s` : `${Math.floor(ms / 60_000)} min ${Math.round((ms % 60_000) / 1000)} s`
}

// csv writes RFC 4180 with a header. It is for spreadsheets, and devices choose
// many of the texts: one that a spreadsheet would take for a formula gets an
// apostrophe, as OWASP advises. JSON has all as it is.
export function csv(columns: Column[], rows: Iterable<Cell[]>): string[] {
  const field = (text: string) => (/[",\r\n]|^[ \t]/.test(text) ? `"${text.replaceAll('"', '""')}"` : text)
  const harmless = (text: string, type = "string") => (type === "string" && /^[=+\-@\t\r]/.test(text) ? "'" + text : text)
  const parts = [columns.map((c) => field(harmless(c.name))).join(",") + "\r\n"]
  for (const row of rows) parts.push(row.map((cell, i) => field(harmless(full(cell), typeof cell === "string" && columns[i]?.type === "dynamic" ? "string" : columns[i]?.type))).join(",") + "\r\n")
  return parts
}

// json writes an array with one object a row. A long that is kept as its
// digits is a number again.
export function json(columns: Column[], rows: Iterable<Cell[]>): string[] {
  const names = columns.map((c) => JSON.stringify(c.name))
  const parts = ["["]
  for (const row of rows) {
    const fields = row.map((cell, i) => {
      const digits = typeof cell === "string" && columns[i]?.type === "long"
      return `${names[i]}:${digits ? cell : JSON.stringify(cell)}`
    })
    parts.push((parts.length > 1 ? ",\n" : "\n") + "{" + fields.join(",") + "}")
  }
  parts.push("\n]\n")
  return parts
}
