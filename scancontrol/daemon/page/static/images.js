// From values to pixels: windows, differences, and the nearest measured value. Pure.

import { pack, tones } from './colour.js';

const UNMEASURED = pack(19, 31, 50);
const NOTHING = pack(10, 13, 18);
const SATURATED = pack(255, 70, 70);
const MARK = [99, 199, 242];

/** Map values through a colour table, bent by gamma, between low and high into `pixels` (Uint32Array, one per value). */
export function paint(pixels, values, { low, high, map, gamma = 1 }) {
  const lut = tones(map, gamma);
  const last = lut.length - 1;
  const scale = high > low ? last / (high - low) : 0;
  for (let i = 0; i < values.length; i++) {
    const level = (values[i] - low) * scale + 0.5;
    pixels[i] = lut[level > last ? last : level > 0 ? level | 0 : 0];
  }
}

/** Show no picture where `known` is 0. */
export function leaveOut(pixels, known) {
  for (let i = 0; i < known.length; i++) if (!known[i]) pixels[i] = NOTHING;
}

/** A copy of `values` with `filler` wherever `known` is 0; the values themselves where everything is known. */
export function onlyKnown(values, known, filler) {
  return known ? values.map((value, i) => (known[i] ? value : filler)) : values;
}

/**
 * Paint a partial frame in grey; unmeasured pixels show `before`, the last frame, dimmed, or the colour of nothing.
 * Pixels at or above `ceiling` are marked: the detector was saturated there.
 */
export function paintPartial(pixels, values, weight, { low, high, gamma = 1 }, before, ceiling) {
  const lut = tones('grey', gamma);
  const last = lut.length - 1;
  const scale = high > low ? last / (high - low) : 0;
  for (let i = 0; i < values.length; i++) {
    let source = weight[i] ? values : null;
    let dim = 1;
    if (!source && before && before.weight[i]) { source = before.values; dim = 0.4; }
    if (!source) { pixels[i] = UNMEASURED; continue; }
    if (ceiling !== null && source[i] >= ceiling) { pixels[i] = SATURATED; continue; }
    const colour = lut[(Math.max(0, Math.min(last, (source[i] - low) * scale)) + 0.5) | 0];
    const level = dim * (colour & 255);
    pixels[i] = dim === 1 ? colour : pack(16 + 0.85 * level, 25 + 0.9 * level, 40 + level);
  }
}

/** Average the measured pixels of each factor × factor block, so that a sparse path does not fade when it is shrunk. */
export function shrink(values, weight, rows, cols, factor) {
  const [high, wide] = [Math.ceil(rows / factor), Math.ceil(cols / factor)];
  const sums = new Float32Array(high * wide);
  const counts = new Uint8Array(high * wide);
  for (let y = 0, i = 0; y < rows; y++) {
    const row = ((y / factor) | 0) * wide;
    for (let x = 0; x < cols; x++, i++) {
      if (!weight[i]) continue;
      const at = row + ((x / factor) | 0);
      sums[at] += values[i];
      counts[at] += 1;
    }
  }
  for (let i = 0; i < sums.length; i++) if (counts[i]) sums[i] /= counts[i];
  return { values: sums, weight: counts, rows: high, cols: wide };
}

/** Tint the measured pixels of a painted picture. */
export function markMeasured(pixels, weight) {
  for (let i = 0; i < pixels.length; i++) {
    if (!weight[i]) continue;
    const p = pixels[i];
    const mix = (channel, mark) => (0.45 * ((p >>> channel) & 255) + 0.55 * mark) | 0;
    pixels[i] = pack(mix(0, MARK[0]), mix(8, MARK[1]), mix(16, MARK[2]));
  }
}

/**
 * For every pixel the value of the nearest measured pixel: two sweeps that hand on the nearest seed found so far
 * (Danielsson's 8SSED; exact but for rare ties). Null if nothing was measured.
 */
export function nearestMeasured(values, weight, rows, cols) {
  const seed = new Int32Array(rows * cols).fill(-1);
  let any = false;
  for (let i = 0; i < seed.length; i++) if (weight[i]) { seed[i] = i; any = true; }
  if (!any) return null;
  const distance = (s, y, x) => {
    const dy = ((s / cols) | 0) - y;
    const dx = (s % cols) - x;
    return dy * dy + dx * dx;
  };
  const offer = (i, y, x, fromY, fromX) => {
    if (fromY < 0 || fromX < 0 || fromY >= rows || fromX >= cols) return;
    const s = seed[fromY * cols + fromX];
    if (s >= 0 && (seed[i] < 0 || distance(s, y, x) < distance(seed[i], y, x))) seed[i] = s;
  };
  const sweep = (y, back, step) => {
    const first = step > 0 ? 0 : cols - 1;
    const end = step > 0 ? cols : -1;
    for (let x = first; x !== end; x += step) {
      const i = y * cols + x;
      for (let d = -1; d <= 1; d++) offer(i, y, x, y - back, x + d);
      offer(i, y, x, y, x - step);
    }
    for (let x = end - step; x !== first - step; x -= step) offer(y * cols + x, y, x, y, x + step);
  };
  for (let y = 0; y < rows; y++) sweep(y, 1, 1);
  for (let y = rows - 1; y >= 0; y--) sweep(y, -1, -1);
  const filled = new Float32Array(rows * cols);
  for (let i = 0; i < filled.length; i++) filled[i] = values[seed[i]];
  return filled;
}

/** a − b where both are known, and the magnitude that 99 % of it stays below. */
export function difference(a, b, known = null) {
  const out = new Float32Array(a.length);
  let peak = 0;
  for (let i = 0; i < a.length; i++) {
    if (known && !known[i]) continue;
    out[i] = a[i] - b[i];
    peak = Math.max(peak, Math.abs(out[i]));
  }
  return { values: out, limit: magnitude(out, peak, 0.99) };
}

/** The magnitude below which a share of `values` lies; `peak` is their greatest. */
export function magnitude(values, peak, share) {
  if (!(peak > 0)) return 0;
  const counts = new Uint32Array(512);
  for (let i = 0; i < values.length; i++) counts[Math.min(511, (Math.abs(values[i]) / peak * 512) | 0)] += 1;
  let below = 0;
  for (let bin = 0; bin < 512; bin++) {
    below += counts[bin];
    if (below >= share * values.length) return ((bin + 1) / 512) * peak;
  }
  return peak;
}
