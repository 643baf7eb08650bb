// From rows to what a chart draws, by the rules of Kusto's render: which
// columns are x, which are y, and which split rows into series.

import type { Cell, Column, Render } from "./api"
import { full, isNumeric, number, time } from "./cells"
import { utc } from "./draw"

export const kinds = {
  timechart: "Time",
  linechart: "Line",
  areachart: "Area",
  stackedareachart: "Stacked area",
  scatterchart: "Scatter",
  columnchart: "Column",
  barchart: "Bar",
  piechart: "Pie",
  card: "Card",
} as const

export type Kind = keyof typeof kinds

// kindOf is the chart for what a query's render names. What has no form of its
// own here is drawn as bars, and anomalies are points of a line.
export function kindOf(visualization: string): Kind | "table" | undefined {
  if (visualization in kinds) return visualization as Kind
  switch (visualization) {
    case "table":
      return "table"
    case "anomalychart":
      return "timechart"
    case "ladderchart":
    case "pivotchart":
    case "treemap":
      return "barchart"
    case "timepivot":
      return "timechart"
    default:
      return undefined
  }
}

export interface Series {
  name: string
  values: (number | null)[]
}

// Shape is a chart's data. Points have numbers for x (seconds for times), bars
// and slices have labels.
export interface Shape {
  x: number[]
  labels: string[]
  // tips are labels in full, where they were shortened.
  tips: string[]
  // times says that x, or what the labels were made of, is time.
  times: boolean
  xTitle: string
  yTitle: string
  series: Series[]
  // cut says what was left out.
  cut: string
}

const maxSeries = 60
const maxBars = 500
const maxPoints = 200_000

const overX = new Set<Kind>(["timechart", "linechart", "areachart", "stackedareachart", "scatterchart"])

// shape returns a chart's data, or why there is none.
export function shape(kind: Kind, columns: Column[], rows: Cell[][], render?: Render): Shape | string {
  if (rows.length === 0) return "There are no rows to draw."
  const properties = render?.properties ?? {}
  const named = (key: string) =>
    (properties[key] ?? "")
      .split(",")
      .map((name) => columns.findIndex((c) => c.name === name.trim()))
      .filter((i) => i >= 0)
  const type = (i: number) => columns[i]?.type ?? ""
  const quantity = (i: number) => isNumeric(type(i)) || type(i) === "timespan"
  const line = overX.has(kind)
  // make-series returns arrays instead of numbers; what is beside them names the series.
  const arrays = columns.map((c, i) => (c.type === "dynamic" && rows.some((row) => Array.isArray(row[i])) ? i : -1)).filter((i) => i >= 0)
  if (arrays.length > 0) {
    const [flat, points] = unpack(columns, rows, arrays)
    const numbers = arrays.some((i) => flat[i]?.type === "real")
    if (numbers && (arrays.some((i) => flat[i]?.type === "datetime") || !columns.some((_, i) => quantity(i)))) return shape(kind, flat, points, render)
  }

  let x = named("xcolumn")[0] ?? -1
  if (x < 0) {
    x = 0
    const firstTime = columns.findIndex((c) => c.type === "datetime")
    if (line && firstTime >= 0) x = firstTime
    else if (!line && quantity(0) && columns.length > 1) {
      // Bars have labels: the first column that is none of the numbers.
      const firstLabel = columns.findIndex((_, i) => !quantity(i))
      if (firstLabel >= 0) x = firstLabel
    }
  }

  if (kind === "card") x = -1
  let y = named("ycolumns").filter((i) => i !== x)
  if (y.length === 0) y = columns.map((_, i) => i).filter((i) => i !== x && quantity(i))
  let splits = named("series").filter((i) => i !== x && !y.includes(i))
  if (y.length === 0 && columns.length === 1 && quantity(0)) {
    ;[y, x] = [[0], -1]
  }
  if (y.length === 0) return "A chart needs a column of numbers."
  if (kind === "card") return { x: [], labels: y.map((i) => columns[i]?.name ?? ""), tips: [], times: false, xTitle: "", yTitle: "", series: [{ name: "", values: y.map((i) => finite(number(rows[0]?.[i] ?? null, type(i)))) }], cut: "" }
  if (splits.length === 0) splits = columns.map((_, i) => i).filter((i) => i !== x && !y.includes(i) && !quantity(i) && type(i) !== "datetime" && type(i) !== "dynamic")
  // A pie has one ring: what splits rows is part of their labels.
  const joined = kind === "piechart" ? splits : []
  if (kind === "piechart") [y, splits] = [y.slice(0, 1), []]

  const continuous = line && x >= 0 && (type(x) === "datetime" || quantity(x))
  const times = x >= 0 && type(x) === "datetime" && kind !== "piechart"
  let cut = ""
  if (rows.length > maxPoints) {
    rows = rows.slice(0, maxPoints)
    cut = `The chart shows the first ${maxPoints.toLocaleString("en")} rows.`
  }

  // The places of x, and each series' values at them.
  const places = new Map<string | number, number>()
  const keys: number[] = []
  const labels: string[] = []
  const series = new Map<string, Map<number, number>>()
  let dropped = 0
  const points = kind === "scatterchart" // every row is a place of its own
  for (const [r, row] of rows.entries()) {
    const cell = x < 0 ? r + 1 : (row[x] ?? null)
    const key = continuous ? number(cell as Cell, type(x)) : x < 0 ? r : [x, ...joined].map((i) => text(row[i] ?? null, type(i))).join(", ")
    if (typeof key === "number" && !Number.isFinite(key)) continue
    let place = points ? undefined : places.get(key)
    if (place === undefined) {
      place = keys.length
      places.set(key, place)
      keys.push(typeof key === "number" ? key : place)
      labels.push(x < 0 ? String(r + 1) : String(key))
    }
    const split = splits.map((i) => text(row[i] ?? null, type(i))).join(", ")
    for (const i of y) {
      const value = number(row[i] ?? null, type(i))
      const own = columns[i]?.name ?? ""
      const name = splits.length === 0 ? own : y.length === 1 ? split || "(empty)" : `${split || "(empty)"}: ${own}`
      let values = series.get(name)
      if (!values) {
        if (series.size >= maxSeries) {
          dropped++
          continue
        }
        series.set(name, (values = new Map()))
      }
      // Bars of one label add up; of two points at one place the last is seen.
      if (Number.isFinite(value)) values.set(place, (continuous ? 0 : (values.get(place) ?? 0)) + value)
    }
  }
  if (dropped > 0) cut = `The chart shows the first ${maxSeries} series; ${dropped.toLocaleString("en")} values of others are left out.`
  if (series.size === 0 || keys.length === 0) return "There is nothing to draw: x has no values."

  let index = keys.map((_, i) => i)
  if (continuous) index.sort((a, b) => (keys[a] as number) - (keys[b] as number))
  else {
    // Columns over time stand in its order, whatever the order of the rows.
    if (times) index.sort((a, b) => ((labels[a] ?? "") < (labels[b] ?? "") ? -1 : 1))
    if (index.length > maxBars) {
      cut = `The chart shows the first ${maxBars} of ${index.length.toLocaleString("en")} categories.`
      index = index.slice(0, maxBars)
    }
  }
  const tips = continuous ? [] : index.map((i) => labels[i] ?? "")
  const one = y.length === 1 ? (columns[y[0] as number]?.name ?? "") : ""
  return {
    x: continuous ? index.map((i) => keys[i] as number) : index.map((_, i) => i),
    labels: times ? shortTimes(tips) : tips,
    tips,
    times,
    xTitle: properties["xtitle"] || (x < 0 ? "" : (columns[x]?.name ?? "")),
    yTitle: properties["ytitle"] || one,
    series: [...series].sort(([a], [b]) => (splits.length > 0 ? a.localeCompare(b, "en", { numeric: true }) : 0)).map(([name, values]) => ({ name, values: index.map((i) => values.get(i) ?? null) })),
    cut,
  }
}

// shortTimes leaves out of times what is the same in all of them.
function shortTimes(texts: string[]): string[] {
  const at = texts.map((t) => Date.parse(t.replace(" ", "T") + (t.length > 10 ? "Z" : "")) / 1000)
  if (at.some(Number.isNaN)) return texts
  const span = Math.max(...at) - Math.min(...at)
  return at.map((t) => utc(t, span))
}

function finite(n: number): number | null {
  return Number.isFinite(n) ? n : null
}

function text(cell: Cell, type: string): string {
  return type === "datetime" && typeof cell === "string" ? time(cell) : full(cell)
}

// unpack makes rows of the arrays in these columns.
function unpack(columns: Column[], rows: Cell[][], arrays: number[]): [Column[], Cell[][]] {
  const flat: Cell[][] = []
  for (const row of rows) {
    const length = Math.max(...arrays.map((i) => (Array.isArray(row[i]) ? (row[i] as Cell[]).length : 0)))
    for (let k = 0; k < length; k++) flat.push(row.map((cell, i) => (arrays.includes(i) && Array.isArray(cell) ? (cell[k] ?? null) : cell)))
  }
  const itemType = (i: number): string => {
    const first = flat.find((row) => row[i] !== null && row[i] !== undefined)?.[i]
    if (typeof first === "number") return "real"
    return typeof first === "string" && /^\d{4}-\d\d-\d\dT/.test(first) ? "datetime" : "string"
  }
  return [columns.map((c, i) => ({ name: c.name, type: arrays.includes(i) ? itemType(i) : "string" })), flat]
}
