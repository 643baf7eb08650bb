// Bars, columns, pies and cards: SVG, drawn anew at every size.

import { h, svg } from "./dom"
import { colorsOf, legend, measure, number, tip, versionColors, type Drawn } from "./draw"
import type { Kind, Shape } from "./shape"

type Stacking = "unstacked" | "stacked" | "stacked100"

// ticks are round numbers from low to high.
function ticks(low: number, high: number, about: number): number[] {
  const raw = (high - low) / Math.max(1, about) || 1
  const power = 10 ** Math.floor(Math.log10(raw))
  const step = power * ([1, 2, 2.5, 5, 10].find((f) => power * f >= raw) ?? 10)
  const list: number[] = []
  for (let t = Math.ceil(low / step); t * step <= high + step * 1e-9; t++) list.push(t * step)
  return list
}

// clip shortens text to a width in pixels.
function clip(text: string, width: number, widthOf: (text: string) => number): string {
  if (widthOf(text) <= width) return text
  let n = Math.max(1, Math.floor((text.length * width) / widthOf(text)))
  while (n > 1 && widthOf(text.slice(0, n) + "…") > width) n--
  return text.slice(0, n) + "…"
}

export function drawBars(kind: Kind, data: Shape, place: HTMLElement, stacking: Stacking, logarithmic: boolean): Drawn {
  const colors = colorsOf(data.series.map((s) => s.name))
  // One series has one colour, but for labels that have colours of their own.
  const own = data.series.length === 1 ? versionColors(data.labels) : undefined
  const color = (s: number, k: number) => own?.[k] ?? colors[s] ?? ""
  const visible = data.series.map(() => true)
  const box = h("div", { class: "bars" })
  const pointer = tip(place)
  const horizontal = kind === "barchart"
  const widthOf = measure()

  const draw = () => {
    const shown = data.series.map((_, i) => i).filter((i) => visible[i])
    const at = (s: number, k: number) => {
      const v = data.series[s]?.values[k] ?? 0
      if (stacking !== "stacked100") return v
      const total = shown.reduce((sum, i) => sum + Math.abs(data.series[i]?.values[k] ?? 0), 0)
      return total === 0 ? 0 : (100 * v) / total
    }
    const stacked = stacking !== "unstacked"
    let [low, high] = [0, 0]
    data.labels.forEach((_, k) => {
      let [up, down] = [0, 0]
      for (const s of shown) {
        const v = at(s, k)
        if (stacked) v >= 0 ? (up += v) : (down += v)
        else [up, down] = [Math.max(up, v), Math.min(down, v)]
      }
      ;[low, high] = [Math.min(low, down), Math.max(high, up)]
    })
    if (high === low) high = low + 1
    // A logarithmic axis begins below the smallest value.
    const logs = logarithmic && !stacked && low >= 0
    const least = Math.min(...shown.flatMap((s) => data.labels.map((_, k) => at(s, k)).filter((v) => v > 0)), high)
    const floor = 10 ** Math.floor(Math.log10(least))
    const part = (v: number) => (logs ? (v <= 0 ? 0 : Math.log(v / floor) / Math.log((high * 1.05) / floor)) : (v - low) / (high - low))

    const full = Math.max(220, box.clientWidth)
    const n = data.labels.length
    const groups = stacked ? 1 : Math.max(1, shown.length)
    const longest = Math.max(...data.labels.map(widthOf)) + 14
    const left = horizontal ? Math.min(longest, full * 0.4, 320) : 56
    const right = horizontal ? 64 : 12
    // Labels that do not fit below their columns are slanted; those of times are
    // left out instead.
    const slanted = !horizontal && !data.times && n * longest > full - left
    const bottom = horizontal || !slanted ? 28 : Math.min(longest * 0.66 + 16, 100)
    const top = 8
    const band = horizontal ? Math.max(18, Math.min(34, groups * 12 + 8), Math.min(34, (box.clientHeight - top - bottom) / n)) : Math.max(4, (full - left - right) / n)
    const height = horizontal ? top + n * band + bottom : Math.max(180, box.clientHeight)
    const width = horizontal ? full : Math.max(full, left + right + n * band)
    const [length, origin] = horizontal ? [width - left - right, left] : [height - top - bottom, height - bottom]
    const along = (v: number) => (horizontal ? origin + part(v) * length : origin - part(v) * length)
    const zero = along(logs ? 0 : Math.max(0, low))

    const picture = svg("svg", { width, height, role: "img", "aria-label": `${data.yTitle} by ${data.xTitle}: ${n} ${n === 1 ? "category" : "categories"}` })
    const grid = svg("g", { class: "gridlines" })
    const axisTicks = logs ? powers(floor, high) : ticks(low, high, Math.max(3, length / (horizontal ? 90 : 48)))
    for (const t of axisTicks) {
      const p = along(t)
      const label = number(t) + (stacking === "stacked100" ? " %" : "")
      if (horizontal) grid.append(svg("line", { x1: p, x2: p, y1: top, y2: height - bottom }), svg("text", { x: p, y: height - bottom + 16, "text-anchor": "middle" }, label))
      else grid.append(svg("line", { x1: left, x2: width - right, y1: p, y2: p }), svg("text", { x: left - 8, y: p + 4, "text-anchor": "end" }, label))
    }
    picture.append(grid)

    const room = band - Math.min(8, band * 0.25)
    const every = horizontal ? 1 : Math.ceil((slanted ? 16 : data.times ? longest + 10 : 20) / band)
    data.labels.forEach((label, k) => {
      const start = (horizontal ? top : left) + k * band
      const middle = start + band / 2
      let [up, down] = [0, 0]
      const total = shown.reduce((sum, s) => sum + (data.series[s]?.values[k] ?? 0), 0)
      const group = svg("g", { class: "bar" })
      shown.forEach((s, place) => {
        const v = at(s, k)
        let [from, to] = [zero, along(v)]
        if (stacked) {
          ;[from, to] = v >= 0 ? [along(up), along(up + v)] : [along(down), along(down + v)]
          v >= 0 ? (up += v) : (down += v)
        }
        const size = room / groups
        const across = start + (band - room) / 2 + (stacked ? 0 : place * size)
        const [a, b] = [Math.min(from, to), Math.abs(to - from)]
        const thick = Math.max(1, size - (groups > 1 ? 1 : 0))
        const rect = horizontal ? { x: a, y: across, width: b, height: thick } : { x: across, y: a, width: thick, height: b }
        group.append(svg("rect", { ...rect, fill: color(s, k), rx: Math.min(2, thick / 4) }))
      })
      if (horizontal) {
        group.append(svg("text", { x: left - 8, y: middle + 4, "text-anchor": "end", class: "label" }, clip(label || "(empty)", left - 10, widthOf)))
        if (groups === 1 && stacking !== "stacked100") group.append(svg("text", { x: along(Math.max(up, low, stacked ? up : Math.max(total, 0))) + 6, y: middle + 4, class: "value" }, number(total)))
      } else if (k % every === 0) {
        const where = slanted ? { transform: `translate(${middle + 4},${height - bottom + 14}) rotate(-40)`, "text-anchor": "end" } : { x: middle, y: height - bottom + 18, "text-anchor": "middle" }
        group.append(svg("text", { ...where, class: "label" }, clip(label || "(empty)", slanted ? 124 : Math.max(band * every - 4, 30), widthOf)))
      }
      const cover = horizontal ? { x: 0, y: start, width, height: band } : { x: start, y: 0, width: band, height: height - bottom }
      const hit = svg("rect", { ...cover, fill: "transparent" })
      hit.addEventListener("mousemove", (event) => {
        const lines = shown.map((s) => ({ name: data.series[s]?.name ?? "", value: number(data.series[s]?.values[k] ?? 0) + (stacking === "stacked100" ? ` (${number(at(s, k))} %)` : ""), color: color(s, k), has: data.series[s]?.values[k] !== null }))
        pointer.show(event.clientX, event.clientY, data.tips[k] || label || "(empty)", lines.filter((l) => l.has))
      })
      hit.addEventListener("mouseleave", () => pointer.hide())
      group.append(hit)
      picture.append(group)
    })
    picture.append(svg("line", { class: "zero", ...(horizontal ? { x1: zero, x2: zero, y1: top, y2: height - bottom } : { x1: left, x2: width - right, y1: zero, y2: zero }) }))
    box.replaceChildren(picture)
  }
  const names = legend(data.series.map((s) => s.name), colors, (i, shown) => {
    visible[i] = shown
    draw()
  })
  place.append(box, names)
  draw()
  return { resize: draw, destroy: () => undefined }
}

function powers(from: number, to: number): number[] {
  const list: number[] = []
  for (let t = from; t <= to * 1.05; t *= 10) list.push(t)
  return list
}

const maxSlices = 11

export function drawPie(data: Shape, place: HTMLElement): Drawn {
  const values = data.series[0]?.values ?? []
  let slices = data.labels.map((label, i) => ({ label: label || "(empty)", value: Math.max(0, values[i] ?? 0) })).filter((s) => s.value > 0)
  if (slices.length > maxSlices) {
    slices.sort((a, b) => b.value - a.value)
    const rest = slices.slice(maxSlices - 1)
    slices = [...slices.slice(0, maxSlices - 1), { label: `${rest.length} others`, value: rest.reduce((sum, s) => sum + s.value, 0) }]
  }
  const total = slices.reduce((sum, s) => sum + s.value, 0)
  if (total === 0) {
    place.append(h("p", { class: "empty" }, "There is nothing to draw: all values are zero, negative or null."))
    return { resize: () => undefined, destroy: () => undefined }
  }
  const colors = colorsOf(slices.map((s) => s.label))
  const pointer = tip(place)
  const picture = svg("svg", { viewBox: "-105 -105 210 210", class: "pie", role: "img", "aria-label": `${data.yTitle} by ${data.xTitle}` })
  const [outer, inner] = [100, 60]
  let angle = -Math.PI / 2
  slices.forEach((slice, i) => {
    const share = slice.value / total
    const end = angle + share * 2 * Math.PI
    const at = (radius: number, a: number) => `${(radius * Math.cos(a)).toFixed(3)} ${(radius * Math.sin(a)).toFixed(3)}`
    const large = share > 0.5 ? 1 : 0
    // A whole ring is drawn as two halves.
    const middle = (angle + end) / 2
    const path =
      share > 0.9999
        ? `M${at(outer, angle)}A${outer} ${outer} 0 1 1 ${at(outer, middle)}A${outer} ${outer} 0 1 1 ${at(outer, angle)}M${at(inner, angle)}A${inner} ${inner} 0 1 0 ${at(inner, middle)}A${inner} ${inner} 0 1 0 ${at(inner, angle)}Z`
        : `M${at(outer, angle)}A${outer} ${outer} 0 ${large} 1 ${at(outer, end)}L${at(inner, end)}A${inner} ${inner} 0 ${large} 0 ${at(inner, angle)}Z`
    const part = svg("path", { d: path, fill: colors[i] ?? "", class: "slice" })
    part.addEventListener("mousemove", (event) => pointer.show(event.clientX, event.clientY, slice.label, [{ name: data.yTitle, value: `${number(slice.value)} (${percent(share)})`, color: colors[i] ?? "" }]))
    part.addEventListener("mouseleave", () => pointer.hide())
    picture.append(part)
    angle = end
  })
  picture.append(svg("text", { y: 2, "text-anchor": "middle", class: "pie-total" }, number(total)), svg("text", { y: 18, "text-anchor": "middle", class: "pie-title" }, clip(data.yTitle, 130, measure())))
  const list = h("table", { class: "pie-legend" })
  slices.forEach((slice, i) => {
    const swatch = h("span", { class: "swatch" })
    swatch.style.background = colors[i] ?? ""
    list.append(h("tr", {}, h("td", {}, swatch, h("span", { title: slice.label }, slice.label)), h("td", { class: "number" }, number(slice.value)), h("td", { class: "number share" }, percent(slice.value / total))))
  })
  place.append(h("div", { class: "pie-box" }, picture, list))
  return { resize: () => undefined, destroy: () => undefined }
}

function percent(share: number): string {
  return (share * 100).toLocaleString("en", { maximumFractionDigits: share < 0.1 ? 2 : 1 }) + " %"
}

export function drawCard(data: Shape, place: HTMLElement): Drawn {
  const list = h("dl", { class: "cards" })
  data.labels.forEach((label, i) => {
    const value = data.series[0]?.values[i]
    list.append(h("div", {}, h("dt", {}, label), h("dd", {}, value === null || value === undefined ? "null" : number(value))))
  })
  place.append(list)
  return { resize: () => undefined, destroy: () => undefined }
}
