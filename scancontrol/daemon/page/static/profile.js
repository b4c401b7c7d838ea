// A line drawn across a picture: its length, the values along it, and their plot with the interval. Sampling is pure.

import { lengthText, niceLength } from './colour.js';

const FONT = '11px system-ui, "DejaVu Sans", sans-serif';

/** Length in nm and angle in degrees (from +x, upwards) of a line between places (y, x) of a field `widthNm` × `heightNm`. */
export function measureLine([from, to], widthNm, heightNm) {
  const [dy, dx] = [(to[0] - from[0]) * heightNm, (to[1] - from[1]) * widthNm];
  return { nm: Math.hypot(dy, dx), deg: (Math.atan2(-dy, dx) * 180) / Math.PI };
}

/**
 * Values along a line, bilinear, each the mean over `width` pixels across it: Float32Array, about one a pixel.
 * Places are fractions of the field; the middle of pixel i of n is at (i + 0.5)/n.
 */
export function alongLine(values, rows, cols, [from, to], width = 1) {
  const [y0, x0] = [from[0] * rows - 0.5, from[1] * cols - 0.5];
  const [dy, dx] = [(to[0] - from[0]) * rows, (to[1] - from[1]) * cols];
  const length = Math.hypot(dy, dx);
  const count = Math.max(2, Math.round(length) + 1);
  const [ny, nx] = length ? [dx / length, -dy / length] : [0, 0];
  const at = (y, x) => {
    const [cy, cx] = [Math.max(0, Math.min(rows - 1, y)), Math.max(0, Math.min(cols - 1, x))];
    const [top, left] = [Math.min(rows - 2, Math.floor(cy)), Math.min(cols - 2, Math.floor(cx))];
    const [v, u] = [cy - top, cx - left];
    const i = top * cols + left;
    return (1 - v) * ((1 - u) * values[i] + u * values[i + 1]) + v * ((1 - u) * values[i + cols] + u * values[i + cols + 1]);
  };
  return Float32Array.from({ length: count }, (_, k) => {
    const [y, x] = [y0 + (dy * k) / (count - 1), x0 + (dx * k) / (count - 1)];
    let sum = 0;
    for (let j = 0; j < width; j++) sum += at(y + (j - (width - 1) / 2) * ny, x + (j - (width - 1) / 2) * nx);
    return sum / width;
  });
}

/** Measured pixels within half of `width` (at least half a pixel) of a line: [[share of its length, value], …]. */
export function measuredNear(values, weight, rows, cols, [from, to], width = 1) {
  const [y0, x0] = [from[0] * rows - 0.5, from[1] * cols - 0.5];
  const [dy, dx] = [(to[0] - from[0]) * rows, (to[1] - from[1]) * cols];
  const length = Math.hypot(dy, dx);
  if (!length) return [];
  const reach = Math.max(0.5, width / 2);
  const span = (a, d, n) => [Math.max(0, Math.floor(Math.min(a, a + d) - reach)), Math.min(n - 1, Math.ceil(Math.max(a, a + d) + reach))];
  const [[top, bottom], [left, right]] = [span(y0, dy, rows), span(x0, dx, cols)];
  const found = [];
  for (let y = top; y <= bottom; y++) {
    for (let x = left; x <= right; x++) {
      if (!weight[y * cols + x]) continue;
      const along = ((y - y0) * dy + (x - x0) * dx) / length;
      const across = Math.abs((y - y0) * dx - (x - x0) * dy) / length;
      if (across <= reach && along >= 0 && along <= length) found.push([along / length, values[y * cols + x]]);
    }
  }
  return found;
}

export class ProfilePlot {
  constructor(canvas) {
    this.canvas = canvas;
    this.context = canvas.getContext('2d');
  }

  /** Draw {lengthNm, restored, interval, truth, measured}; all but `restored` may be null. */
  draw({ lengthNm, restored, interval, truth, measured }) {
    const ratio = window.devicePixelRatio || 1;
    const box = this.canvas.getBoundingClientRect();
    const [width, height] = [Math.max(1, Math.floor(box.width)), Math.max(1, Math.floor(box.height))];
    this.canvas.width = Math.round(width * ratio);
    this.canvas.height = Math.round(height * ratio);
    const { context } = this;
    context.setTransform(ratio, 0, 0, ratio, 0, 0);
    if (!restored) return;
    let [low, high] = [Infinity, -Infinity];
    restored.forEach((value, i) => {
      const half = interval ? interval[i] : 0;
      [low, high] = [Math.min(low, value - half), Math.max(high, value + half)];
    });
    for (const [, value] of measured ?? []) [low, high] = [Math.min(low, value), Math.max(high, value)];
    if (!(high > low)) [low, high] = [low - 0.5, high + 0.5];
    const [left, base, top] = [48, height - 16, 5];
    const x = (share) => left + share * (width - left - 8);
    const y = (value) => base - ((value - low) / (high - low)) * (base - top);
    this.drawAxes(x, y, lengthNm, low, high, base);
    const trace = (series, sign = 0) => series.forEach((value, i) => context.lineTo(x(i / (series.length - 1)), y(value + sign * (interval?.[i] ?? 0))));
    if (interval) {
      context.fillStyle = 'rgba(99, 199, 242, 0.18)';
      context.beginPath();
      trace(restored, 1);
      for (let i = restored.length - 1; i >= 0; i--) context.lineTo(x(i / (restored.length - 1)), y(restored[i] - interval[i]));
      context.fill();
    }
    for (const [series, colour] of [[truth, '#8fd694'], [restored, '#63c7f2']]) {
      if (!series) continue;
      context.strokeStyle = colour;
      context.lineWidth = 1.25;
      context.beginPath();
      trace(series);
      context.stroke();
    }
    context.fillStyle = '#f4f7fa';
    for (const [share, value] of measured ?? []) context.fillRect(x(share) - 1, y(value) - 1, 2, 2);
  }

  drawAxes(x, y, lengthNm, low, high, base) {
    const { context } = this;
    context.font = FONT;
    context.fillStyle = '#8c98a8';
    context.strokeStyle = '#2a323d';
    context.lineWidth = 1;
    context.textBaseline = 'middle';
    context.textAlign = 'right';
    for (const value of [low, (low + high) / 2, high]) {
      context.beginPath();
      context.moveTo(x(0), y(value));
      context.lineTo(x(1), y(value));
      context.stroke();
      context.fillText(String(Number(value.toPrecision(3))), x(0) - 6, Math.max(7, Math.min(base - 4, y(value))));
    }
    if (!lengthNm) return;
    const step = niceLength(lengthNm / 3);
    context.textAlign = 'center';
    for (let nm = 0; nm <= lengthNm; nm += step) {
      context.fillRect(x(nm / lengthNm), base, 1, 3);
      if (nm / lengthNm < 0.96) context.fillText(nm ? lengthText(nm) : '0', x(nm / lengthNm), base + 9);
    }
  }
}
