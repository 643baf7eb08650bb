// Charts over time and over numbers: uPlot, with a legend and a tip of ours.

import uPlot from "uplot"
import { h } from "./dom"
import type { Kind, Shape } from "./shape"
import { colorsOf, legend, number, paint, tip, utc, type Drawn } from "./draw"

// drawLines draws; share makes each stack of areas a hundred high.
export function drawLines(kind: Kind, data: Shape, place: HTMLElement, logarithmic: boolean, share: boolean): Drawn {
  const stacked = kind === "stackedareachart"
  const area = stacked || kind === "areachart"
  const scatter = kind === "scatterchart"
  const colors = colorsOf(data.series.map((s) => s.name))
  const shownSeries = data.series.map(() => true)
  const box = h("div", { class: "plot" })
  const pointer = tip(place)
  let plot: uPlot | undefined

  // A stacked area is drawn from the top one down, each on the sum below it.
  const values = (): (number | null)[][] => {
    if (!stacked) return data.series.map((s) => s.values)
    const sum = data.x.map(() => 0)
    const stacks = data.series.map((s, i) => s.values.map((v, k) => (shownSeries[i] ? (sum[k] = (sum[k] ?? 0) + (v ?? 0)) : null)))
    return share ? stacks.map((s) => s.map((v, k) => (v === null ? null : sum[k] ? (100 * v) / sum[k] : 0))) : stacks
  }
  const drawOrder = data.series.map((_, i) => i)
  if (stacked) drawOrder.reverse()

  const text = paint("--muted")
  const grid = { stroke: paint("--grid"), width: 1 }
  const axis: uPlot.Axis = { stroke: text, grid, ticks: { stroke: paint("--grid"), width: 1, size: 4 }, font: `11px ${paint("--sans")}`, labelFont: `11px ${paint("--sans")}`, labelSize: 18 }
  const categories = data.labels.length > 0

  const options = (): uPlot.Options => ({
    width: Math.max(200, box.clientWidth),
    height: Math.max(160, box.clientHeight),
    legend: { show: false },
    cursor: { points: { size: 7 }, drag: { x: true, y: false }, focus: { prox: 24 } },
    tzDate: (seconds) => uPlot.tzDate(new Date(seconds * 1e3), "Etc/UTC"),
    scales: { x: { time: data.times }, y: { distr: logarithmic ? 3 : 1, ...(!logarithmic && !scatter && { range: fromZero }) } },
    axes: [
      {
        ...axis,
        ...(categories
          ? { values: (_: uPlot, ticks: number[]) => ticks.map((t) => (Number.isInteger(t) ? (data.labels[t] ?? "") : "")), incrs: [1, 2, 5, 10, 20, 50, 100] }
          : data.times
            ? { values: (u: uPlot, ticks: number[]) => ticks.map((t) => utc(t, (u.scales["x"]?.max ?? 0) - (u.scales["x"]?.min ?? 0))), space: 80 }
            : {}),
        ...(!data.times && { label: data.xTitle }),
      },
      { ...axis, size: 56, values: (_, ticks) => ticks.map((t) => (t === null ? "" : number(t) + (share ? " %" : ""))), ...(data.yTitle && { label: data.yTitle }) },
    ],
    series: [
      {},
      ...drawOrder.map(
        (i): uPlot.Series => ({
          label: data.series[i]?.name ?? "",
          show: shownSeries[i] ?? true,
          stroke: colors[i] ?? text,
          width: scatter ? 0 : 1.5,
          spanGaps: true,
          ...(scatter && { paths: () => null }),
          ...(area && { fill: (colors[i] ?? text) + (stacked ? "" : "26") }),
          points: { show: scatter || few(data.series[i]?.values ?? []), size: scatter ? 6 : 5, fill: colors[i] ?? text, width: 0 },
        }),
      ),
    ],
    hooks: {
      setCursor: [
        (u) => {
          const at = u.cursor.idx
          if (at === null || at === undefined || (u.cursor.left ?? -1) < 0) return pointer.hide()
          const head = categories ? (data.labels[at] ?? "") : data.times ? new Date((data.x[at] ?? 0) * 1000).toISOString().replace("T", " ").replace(/\.?0*Z$/, "") + " UTC" : number(data.x[at] ?? 0)
          const lines = data.series
            .map((s, i) => ({ name: s.name, value: s.values[at] ?? null, color: colors[i] ?? text, shown: shownSeries[i] }))
            .filter((l) => l.shown && l.value !== null)
            .sort((a, b) => (b.value ?? 0) - (a.value ?? 0))
          if (lines.length === 0) return pointer.hide()
          const over = u.over.getBoundingClientRect()
          pointer.show(
            over.left + (u.cursor.left ?? 0),
            over.top + (u.cursor.top ?? 0),
            head,
            lines.map((l) => ({ name: l.name, value: number(l.value ?? 0), color: l.color })),
          )
        },
      ],
    },
  })

  const build = () => {
    plot?.destroy()
    box.replaceChildren()
    const columns = values()
    plot = new uPlot(options(), [data.x, ...drawOrder.map((i) => columns[i] ?? [])] as uPlot.AlignedData, box)
  }
  place.append(
    box,
    legend(data.series.map((s) => s.name), colors, (i, shown) => {
      shownSeries[i] = shown
      build()
    }),
  )
  build()
  return {
    resize: () => plot?.setSize({ width: Math.max(200, box.clientWidth), height: Math.max(160, box.clientHeight) }),
    destroy: () => plot?.destroy(),
  }
}

// few says whether points are so far apart that each wants a mark.
function few(values: (number | null)[]): boolean {
  let n = 0
  for (const v of values) if (v !== null && ++n > 40) return false
  return true
}

// fromZero keeps zero in sight, so that heights can be compared.
function fromZero(_: uPlot, min: number | null, max: number | null): [number, number] {
  if (min === null || max === null) return [0, 1]
  const room = (Math.max(max, 0) - Math.min(min, 0)) * 0.06 || 1
  return [min < 0 ? min - room : 0, max > 0 ? max + room : 0]
}
