// The intensity histogram and the window of contrast: percentiles, or two edges held by hand; gamma and colours.

import { extent, histogram, percentiles } from './colour.js';

export const CLIPS = [0, 0.1, 0.35, 1, 2, 5];
const BINS = 256;
const FONT = '11px system-ui, "DejaVu Sans", sans-serif';

export class Contrast {
  constructor(canvas, changed) {
    this.canvas = canvas;
    this.context = canvas.getContext('2d');
    this.changed = changed;
    this.clip = 2;
    this.locked = false;
    this.low = 0;
    this.high = 1;
    this.gamma = 1;
    this.map = 'grey';
    this.measured = null;
    this.restored = null;
    this.showRestored = true;
    new ResizeObserver(() => { this.resize(); this.draw(); }).observe(canvas);
    this.resize();
    let edge = null;
    canvas.addEventListener('pointerdown', (event) => {
      if (!this.measured) return;
      const value = this.valueAt(event);
      edge = Math.abs(value - this.low) < Math.abs(value - this.high) ? 'low' : 'high';
      canvas.setPointerCapture(event.pointerId);
      this.hold(edge, value);
    });
    canvas.addEventListener('pointermove', (event) => { if (edge && event.buttons & 1) this.hold(edge, this.valueAt(event)); });
    canvas.addEventListener('pointerup', () => { edge = null; });
  }

  resize() {
    const ratio = window.devicePixelRatio || 1;
    const box = this.canvas.getBoundingClientRect();
    this.width = Math.max(1, Math.floor(box.width));
    this.height = Math.max(1, Math.floor(box.height));
    this.canvas.width = Math.round(this.width * ratio);
    this.canvas.height = Math.round(this.height * ratio);
    this.context.setTransform(ratio, 0, 0, ratio, 0, 0);
  }

  /** Take the statistics of what was measured; unless locked, the window follows them. */
  take(values, weight) {
    const range = extent(values, weight);
    if (!range) return;
    this.measured = histogram(values, weight, range[0], range[1], BINS);
    this.follow();
  }

  /** Take a restoration's values where they are known, counted in the same steps as the measured ones. */
  takeRestored({ estimate, known = null }) {
    this.restored = this.measured
      ? histogram(estimate, known, this.measured.low, this.measured.high, BINS) : null;
  }

  follow() {
    if (this.locked || !this.measured) return;
    [this.low, this.high] = percentiles(this.measured, CLIPS[this.clip]);
  }

  step(by) {
    this.clip = Math.max(0, Math.min(CLIPS.length - 1, this.clip + by));
    this.locked = false;
    this.follow();
    this.changed();
  }

  /** The window and colours of a picture of values. */
  tone() { return { low: this.low, high: this.high, gamma: this.gamma, map: this.map }; }

  toggleLock() { this.locked = !this.locked; this.follow(); this.changed(); }

  hold(edge, value) {
    this.locked = true;
    const gap = (this.axis()[1] - this.axis()[0]) / BINS;
    if (edge === 'low') this.low = Math.min(value, this.high - gap);
    else this.high = Math.max(value, this.low + gap);
    this.changed();
  }

  axis() {
    if (!this.measured) return [0, 1];
    const [low, high] = [Math.min(this.measured.low, this.low), Math.max(this.measured.high, this.high)];
    return high > low ? [low, high] : [low - 0.5, low + 0.5];
  }

  valueAt(event) {
    const [low, high] = this.axis();
    const share = (event.clientX - this.canvas.getBoundingClientRect().left) / this.width;
    return low + Math.max(0, Math.min(1, share)) * (high - low);
  }

  draw() {
    const { context, width, height } = this;
    context.clearRect(0, 0, width, height);
    if (!this.measured) return;
    const [axisLow, axisHigh] = this.axis();
    const place = (value) => ((value - axisLow) / (axisHigh - axisLow)) * width;
    const base = height - 15;
    const restored = this.showRestored ? this.restored : null;
    context.fillStyle = 'rgba(255, 255, 255, 0.045)';
    context.fillRect(place(this.low), 0, place(this.high) - place(this.low), base);
    this.drawCounts(this.measured, place, base, 'rgba(190, 201, 214, 0.55)', true);
    if (restored) this.drawCounts(restored, place, base, '#63c7f2', false);
    if (this.gamma !== 1) this.drawCurve(place, base);
    context.font = FONT;
    context.textBaseline = 'alphabetic';
    context.textAlign = 'right';
    for (const [words, colour, line] of [['measured', '#a7b2c0', 1], ['restored', '#63c7f2', 2]]) {
      if (line === 2 && !restored) continue;
      context.fillStyle = colour;
      context.fillText(words, width - 4, 14 * line - 1);
    }
    context.fillStyle = '#2a323d';
    context.fillRect(0, base, width, 1);
    for (const [value, align] of [[this.low, 'left'], [this.high, 'right']]) {
      const x = Math.max(1, Math.min(width - 1, place(value)));
      context.fillStyle = this.locked ? '#ffb454' : '#dfe6ee';
      context.fillRect(x - 0.75, 0, 1.5, base);
      context.textAlign = align;
      // Each edge's figure stands inside its edge while there is room, else outside.
      const roomy = place(this.high) - place(this.low) > 110;
      const outside = align === 'left' ? 'right' : 'left';
      if (!roomy) context.textAlign = outside;
      context.fillText(Number(value.toPrecision(4)), x, height - 3);
    }
  }

  /** How bright each value is shown, as gamma bends it. */
  drawCurve(place, base) {
    const { context } = this;
    context.strokeStyle = 'rgba(255, 180, 84, 0.8)';
    context.lineWidth = 1;
    context.beginPath();
    for (let i = 0; i <= 40; i++) {
      const share = i / 40;
      context.lineTo(place(this.low + share * (this.high - this.low)), base - share ** this.gamma * (base - 4));
    }
    context.stroke();
  }

  drawCounts(hist, place, base, colour, filled) {
    const { context } = this;
    // Square roots: the tails that clipping cuts are what one looks for.
    // One step may hold a whole background: the fifth-highest sets the scale, and what is above is cut.
    const peak = Math.sqrt(Math.max(1, [...hist.counts].sort((a, b) => b - a)[4] * 1.15));
    const step = (hist.high - hist.low) / hist.counts.length;
    context.beginPath();
    context.moveTo(place(hist.low), base);
    hist.counts.forEach((count, i) => {
      const y = base - Math.min(1, Math.sqrt(count) / peak) * (base - 4);
      context.lineTo(place(hist.low + step * i), y);
      context.lineTo(place(hist.low + step * (i + 1)), y);
    });
    context.lineTo(place(hist.high), base);
    if (filled) { context.fillStyle = colour; context.fill(); } else { context.strokeStyle = colour; context.lineWidth = 1.25; context.stroke(); }
  }
}
