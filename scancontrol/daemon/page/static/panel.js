// One picture on screen: zoom and pan shared between panels, scale bar, colour bar, watermark, cursor; pointer and arrow keys.

import { niceLength, tones } from './colour.js';

const FONT = 'px system-ui, "Segoe UI", Roboto, "DejaVu Sans", sans-serif';

/** Zoom and centre (fractions of the field) common to all panels. */
export class Viewport {
  constructor() { this.reset(); }

  reset() { this.zoom = 1; this.cy = 0.5; this.cx = 0.5; }

  /** Zoom by `factor`, keeping the point (y, x) of the field where it is on screen. */
  zoomAt(factor, y, x) {
    const zoom = Math.max(1, Math.min(64, this.zoom * factor));
    const ratio = this.zoom / zoom;
    this.cy = y + (this.cy - y) * ratio;
    this.cx = x + (this.cx - x) * ratio;
    this.zoom = zoom;
    this.clamp();
  }

  clamp() {
    const margin = 0.5 / this.zoom;
    this.cy = Math.max(margin, Math.min(1 - margin, this.cy));
    this.cx = Math.max(margin, Math.min(1 - margin, this.cx));
  }
}

const ARROWS = { ArrowUp: [-1, 0], ArrowDown: [1, 0], ArrowLeft: [0, -1], ArrowRight: [0, 1] };

export class Panel {
  /**
   * `changed()` after the view moved; `pointed(y, x | null)` when the cursor moves, in fractions of the field. `tools`
   * take a drag where they want it: {down(place, near), moved(place), up(), enter(place)}.
   */
  constructor(canvas, viewport, tools, changed, pointed) {
    this.canvas = canvas;
    this.context = canvas.getContext('2d', { alpha: false });
    this.buffer = document.createElement('canvas');
    this.viewport = viewport;
    this.pixels = null;
    this.cursor = null;
    let pointer = null; // where it was last
    let taken = false; // whether the drag that goes on is a tool's
    new ResizeObserver(() => { this.resize(); changed(); }).observe(canvas.parentElement);
    this.resize();
    canvas.addEventListener('wheel', (event) => {
      event.preventDefault();
      const at = this.field(event);
      if (at) { this.viewport.zoomAt(Math.exp(-event.deltaY * 0.002), at[0], at[1]); changed(); }
    }, { passive: false });
    canvas.addEventListener('dblclick', () => { this.viewport.reset(); changed(); });
    canvas.addEventListener('pointerdown', (event) => {
      if (event.button) return;
      canvas.setPointerCapture(event.pointerId);
      const near = (place) => this.distance(event, place);
      taken = Boolean(this.pixels) && tools.down(this.field(event), near);
    });
    canvas.addEventListener('pointermove', (event) => {
      // A browser says that the pointer moved when what is under it did; the keyboard's cursor stays where it is.
      if (pointer?.[0] === event.clientX && pointer[1] === event.clientY) return;
      pointer = [event.clientX, event.clientY];
      if (taken) tools.moved(this.field(event, true));
      else if (event.buttons & 1 && this.size) {
        this.viewport.cx -= event.movementX / (this.size * this.viewport.zoom);
        this.viewport.cy -= event.movementY / (this.size * this.viewport.zoom);
        this.viewport.clamp();
        changed();
      }
      pointed(this.field(event));
    });
    for (const end of ['pointerup', 'pointercancel']) canvas.addEventListener(end, () => { if (taken) tools.up(); taken = false; });
    canvas.addEventListener('pointerleave', () => { pointer = null; pointed(null); });
    canvas.addEventListener('keydown', (event) => {
      if (event.ctrlKey || event.metaKey || event.altKey || !this.pixels) return;
      if (event.key === 'Enter') { event.preventDefault(); tools.enter(this.cursor); return; }
      const arrow = ARROWS[event.key];
      if (!arrow) return;
      event.preventDefault();
      const step = event.shiftKey ? [1 / this.high, 1 / this.wide] : [0.02 / this.viewport.zoom, 0.02 / this.viewport.zoom];
      const from = this.cursor ?? [this.viewport.cy, this.viewport.cx];
      const place = from.map((value, axis) => Math.max(0, Math.min(1 - 1e-9, value + arrow[axis] * step[axis])));
      this.cursor = place;
      tools.moved(place);
      pointed(place);
    });
  }

  resize() {
    const box = this.canvas.parentElement.getBoundingClientRect();
    this.ratio = window.devicePixelRatio || 1;
    this.width = Math.floor(box.width);
    this.height = Math.floor(box.height);
    this.canvas.width = Math.max(1, Math.round(this.width * this.ratio));
    this.canvas.height = Math.max(1, Math.round(this.height * this.ratio));
  }

  /**
   * A (rows × cols) pixel buffer to paint into; kept between frames of one shape. The field ends at `high` and `wide`,
   * in these pixels: a last row or column of shrunk pixels may reach beyond it.
   */
  pixelsFor(rows, cols, high = rows, wide = cols) {
    this.high = high;
    this.wide = wide;
    if (!this.pixels || this.rows !== rows || this.cols !== cols) {
      this.rows = rows;
      this.cols = cols;
      this.buffer.width = cols;
      this.buffer.height = rows;
      this.image = this.buffer.getContext('2d').createImageData(cols, rows);
      this.pixels = new Uint32Array(this.image.data.buffer);
    }
    return this.pixels;
  }

  clear() { this.pixels = null; }

  /**
   * By which whole factor a picture of `cols` columns can be shrunk and still fill the screen's pixels. A path that
   * touches little (`sparse`) is shrunk until a sample is two of them wide; otherwise one could not see it.
   */
  shrinkage(cols, sparse) {
    const ratio = cols / (this.width * this.ratio * this.viewport.zoom);
    return Math.max(1, sparse ? Math.round(2 * ratio) : Math.floor(1.15 * ratio));
  }

  /** On-screen rectangle (CSS pixels) of the whole field. */
  placement() {
    const fit = Math.min(this.width / this.wide, this.height / this.high);
    const { zoom, cy, cx } = this.viewport;
    const width = this.wide * fit * zoom;
    const height = this.high * fit * zoom;
    this.size = Math.max(width, height) / zoom;
    return { x: this.width / 2 - cx * width, y: this.height / 2 - cy * height, width, height };
  }

  /** Where in the field an event is, or null outside of it; with `clamped` the nearest place inside. */
  field(event, clamped = false) {
    if (!this.pixels) return null;
    const box = this.canvas.getBoundingClientRect();
    const place = this.placement();
    const y = (event.clientY - box.top - place.y) / place.height;
    const x = (event.clientX - box.left - place.x) / place.width;
    if (clamped) return [Math.max(0, Math.min(1 - 1e-9, y)), Math.max(0, Math.min(1 - 1e-9, x))];
    return y >= 0 && y < 1 && x >= 0 && x < 1 ? [y, x] : null;
  }

  /** How far, in CSS pixels, an event is from a place of the field. */
  distance(event, [y, x]) {
    const box = this.canvas.getBoundingClientRect();
    const place = this.placement();
    return Math.hypot(event.clientY - box.top - place.y - y * place.height, event.clientX - box.left - place.x - x * place.width);
  }

  /**
   * Draw the painted pixels. decor: {scale: {width, text(length)}, watermark: [text, colour], bar: {map, gamma, low, high},
   * over(context, at)}, each of which may be left out: `scale.width` is that of the field in the unit that `text` says.
   */
  draw(decor) {
    const { context } = this;
    context.setTransform(this.ratio, 0, 0, this.ratio, 0, 0);
    context.fillStyle = '#0a0d12';
    context.fillRect(0, 0, this.width, this.height);
    if (!this.pixels) return;
    this.buffer.getContext('2d').putImageData(this.image, 0, 0);
    const place = this.placement();
    context.imageSmoothingEnabled = place.width * this.ratio < 2 * this.cols;
    context.imageSmoothingQuality = 'high';
    context.drawImage(this.buffer, 0, 0, this.wide, this.high, place.x, place.y, place.width, place.height);
    // Text grows with the page's, so that it can be read on a screen of any size.
    const unit = parseFloat(getComputedStyle(document.documentElement).fontSize) / 13;
    context.font = `${12 * unit}${FONT}`;
    context.textBaseline = 'middle';
    if (decor.over) decor.over(context, ([y, x]) => [place.x + x * place.width, place.y + y * place.height]);
    // Decorations stay inside the part of the field that is visible.
    const inside = {
      left: Math.max(0, place.x) / unit, top: Math.max(0, place.y) / unit,
      right: Math.min(this.width, place.x + place.width) / unit, bottom: Math.min(this.height, place.y + place.height) / unit,
    };
    if (this.cursor) this.drawCursor(place);
    context.scale(unit, unit);
    context.font = `12${FONT}`;
    if (decor.scale) this.drawScaleBar(inside, (decor.scale.width / place.width) * unit, decor.scale.text);
    if (decor.bar) this.drawColourBar(inside, decor.bar);
    if (decor.watermark) this.drawLabel(inside, ...decor.watermark);
  }

  drawScaleBar(inside, perPixel, words) {
    const { context } = this;
    const length = niceLength((inside.right - inside.left) * 0.3 * perPixel);
    const width = length / perPixel;
    const text = words(length);
    const [x, y] = [inside.left + 14, inside.bottom - 16];
    context.fillStyle = 'rgba(8, 11, 16, 0.8)';
    context.fillRect(x - 8, y - 22, Math.max(width, context.measureText(text).width) + 16, 32);
    context.fillStyle = '#f4f7fa';
    context.fillRect(x, y, width, 3);
    context.textAlign = 'left';
    context.fillText(text, x, y - 10);
  }

  drawColourBar(inside, bar) {
    const { context } = this;
    const [width, height] = [120, 8];
    const [x, y] = [inside.right - width - 18, inside.bottom - 16];
    context.fillStyle = 'rgba(8, 11, 16, 0.84)';
    context.fillRect(x - 10, y - 22, width + 20, 36);
    const lut = tones(bar.map, bar.gamma);
    for (let i = 0; i < width; i++) {
      const p = lut[Math.round((i / (width - 1)) * (lut.length - 1))];
      context.fillStyle = `rgb(${p & 255} ${(p >>> 8) & 255} ${(p >>> 16) & 255})`;
      context.fillRect(x + i, y, 1, height);
    }
    context.fillStyle = '#dfe6ee';
    context.textAlign = 'left';
    context.fillText(bar.low, x, y - 10);
    context.textAlign = 'right';
    context.fillText(bar.high, x + width, y - 10);
    context.textAlign = 'left';
  }

  drawLabel(inside, text, colour) {
    const { context } = this;
    const [x, y] = [inside.left + 10, inside.top + 10];
    const width = Math.min(context.measureText(text).width, Math.max(40, inside.right - x - 26));
    context.textAlign = 'left';
    context.fillStyle = 'rgba(8, 11, 16, 0.84)';
    context.fillRect(x - 2, y - 1, width + 18, 22);
    context.fillStyle = colour;
    context.fillRect(x - 2, y - 1, 3, 22);
    context.fillText(text, x + 8, y + 10.5, width);
  }

  drawCursor(place) {
    const { context } = this;
    const [y, x] = [place.y + this.cursor[0] * place.height, place.x + this.cursor[1] * place.width];
    context.strokeStyle = 'rgba(99, 199, 242, 0.9)';
    context.lineWidth = 1;
    context.beginPath();
    for (const [from, to] of [[-12, -4], [4, 12]]) {
      context.moveTo(x + from, y); context.lineTo(x + to, y);
      context.moveTo(x, y + from); context.lineTo(x, y + to);
    }
    context.stroke();
  }
}
