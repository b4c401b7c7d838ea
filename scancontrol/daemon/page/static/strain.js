// The strain of a crystal from its displacement's gradient, as restore/estimate/lattice/strain.py has it. Pure.

import { MAPS, pack } from './colour.js';
import { magnitude } from './images.js';

/** The components, how they are written, and what turns them into the unit that is shown. */
export const COMPONENTS = {
  exx: ['εxx', 100, '%'], eyy: ['εyy', 100, '%'], exy: ['εxy', 100, '%'], rotation: ['rotation', 180 / Math.PI, '°'],
};
const SURE = 2; // deviations from which on a value is shown whole; below one of them it is hardly seen

/**
 * Values and deviations of one component on the coarse grid of `field`, (8, n, n), relative to the mean lattice of
 * `reference` (a rectangle in fractions of the field; null: the whole field): {values, sd}, n² each.
 */
export function component(name, field, n, reference) {
  const inside = (i, start, size) => i / (n - 1) >= start && i / (n - 1) <= start + size;
  const mean = [0, 0, 0, 0];
  let count = 0;
  for (let y = 0; y < n; y++) {
    for (let x = 0; x < n; x++) {
      if (reference && !(inside(y, reference.y, reference.height) && inside(x, reference.x, reference.width))) continue;
      for (let k = 0; k < 4; k++) mean[k] += field[k * n * n + y * n + x];
      count += 1;
    }
  }
  if (!count) return component(name, field, n, null);
  // Relative to the reference the lattice is deformed by (1 − ∇d)⁻¹ (1 − ⟨∇d⟩); index 0 is y, 1 is x.
  const [ryy, ryx, rxy, rxx] = mean.map((sum) => sum / count);
  const values = new Float32Array(n * n);
  for (let i = 0; i < values.length; i++) {
    const [a, b, c, d] = [1 - field[i], -field[n * n + i], -field[2 * n * n + i], 1 - field[3 * n * n + i]];
    const over = 1 / (a * d - b * c);
    const yy = over * (d * (1 - ryy) + b * rxy);
    const yx = over * (-d * ryx - b * (1 - rxx));
    const xy = over * (-c * (1 - ryy) - a * rxy);
    const xx = over * (c * ryx + a * (1 - rxx));
    values[i] = { exx: xx - 1, eyy: yy - 1, exy: 0.5 * (yx + xy), rotation: -0.5 * (yx - xy) }[name];
  }
  const at = 4 + Object.keys(COMPONENTS).indexOf(name);
  return { values, sd: field.subarray(at * n * n, (at + 1) * n * n) };
}

/** Bilinear values on (rows × cols) pixels of a grid whose first and last places are those of the first and last pixel. */
export function onPixels(grid, n, rows, cols) {
  const found = new Float32Array(rows * cols);
  for (let y = 0, i = 0; y < rows; y++) {
    const along = (y * (n - 1)) / Math.max(1, rows - 1);
    const top = Math.min(n - 2, Math.floor(along));
    const v = along - top;
    for (let x = 0; x < cols; x++, i++) {
      const across = (x * (n - 1)) / Math.max(1, cols - 1);
      const left = Math.min(n - 2, Math.floor(across));
      const u = across - left;
      const at = top * n + left;
      found[i] = (1 - v) * ((1 - u) * grid[at] + u * grid[at + 1]) + v * ((1 - u) * grid[at + n] + u * grid[at + n + 1]);
    }
  }
  return found;
}

/** A component of a restoration's strain on its pixels: {values, sd, limit}, of which `limit` is a scale's end. */
export function strainOverlay(name, { strain, strain_side: n, rows, cols }, reference) {
  const { values, sd } = component(name, strain, n, reference);
  const peak = values.reduce((a, b) => Math.max(a, Math.abs(b)), 0);
  const [found, deviations] = [onPixels(values, n, rows, cols), onPixels(sd, n, rows, cols)];
  return { values: found, sd: deviations, limit: Math.max(1e-4, magnitude(values, peak, 0.98)) };
}

/** Tint painted pixels by strain: whole where it is sure, hardly where it may be nothing. */
export function tint(pixels, { values, sd, limit }) {
  const lut = MAPS.diverging;
  for (let i = 0; i < pixels.length; i++) {
    const sure = Math.max(0, Math.min(1, Math.abs(values[i]) / (sd[i] || 1e-12) - SURE + 1));
    const share = 0.1 + 0.6 * sure;
    const colour = lut[Math.max(0, Math.min(255, Math.round(127.5 * (1 + values[i] / limit))))];
    const p = pixels[i];
    const mix = (shift) => ((1 - share) * ((p >>> shift) & 255) + share * ((colour >>> shift) & 255)) | 0;
    pixels[i] = pack(mix(0), mix(8), mix(16));
  }
}
