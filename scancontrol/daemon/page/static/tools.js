// What is drawn on the pictures by hand: a line to measure along, a region to scan, and the reference of a strain map.

import { lengthText } from './colour.js';
import { measureLine } from './profile.js';
import { between, corners, insideField, inRegion, placeIn } from './region.js';

const [LINE, REGION, REFERENCE] = ['#ffd166', '#ff9f6b', '#c792ea'];
const GRIP_PX = 10;
const SMALLEST = 0.01; // of the field: what is smaller was a click

export class Tools {
  /** `changed()` when anything is to be drawn anew; `regionChanged(region)` when a region was drawn, moved or taken away. */
  constructor(changed, regionChanged) {
    Object.assign(this, { changed, regionChanged, kind: 'move', line: null, region: null, reference: null, drag: null });
    this.shape = { rows: 1, cols: 1 };
  }

  choose(kind) {
    this.kind = this.kind === kind ? 'move' : kind;
    this.changed();
  }

  clear() {
    if (this.kind === 'region') this.setRegion(null);
    else if (this.kind === 'reference') this.reference = null;
    else this.line = null;
    this.changed();
  }

  setRegion(region) {
    this.region = region && insideField(region, this.shape);
    this.regionChanged(this.region);
    this.changed();
  }

  /** A press at `place`; `near(other)` says how many screen pixels away another place is. True if it begins a drag here. */
  down(place, near) {
    if (this.kind === 'move' || !place) return false;
    if (this.kind === 'region') this.drag = this.grip(place, near);
    else if (this.kind === 'line' && this.line) {
      const end = this.line.findIndex((one) => near(one) < GRIP_PX);
      this.drag = end < 0 ? { from: place } : { from: this.line[1 - end] };
    } else this.drag = { from: place };
    return true;
  }

  /** What of a region was taken hold of: a corner, its handle, its inside, or nothing of it (a new one begins). */
  grip(place, near) {
    const { region, shape } = this;
    if (!region) return { from: place, rotation_deg: 0 };
    const ends = corners(region, shape);
    const corner = ends.findIndex((one) => near(one) < GRIP_PX);
    if (corner >= 0) return { from: ends[(corner + 2) % 4], rotation_deg: region.rotation_deg };
    if (near(this.handle()) < 1.4 * GRIP_PX) return { turns: true };
    const [v, u] = inRegion(region, shape, place);
    if (Math.max(Math.abs(v), Math.abs(u)) <= 1) return { moves: place, region };
    return { from: place, rotation_deg: region.rotation_deg };
  }

  /** Where the handle that turns a region is: a little above the middle of its upper edge. */
  handle() {
    const { region, shape } = this;
    const beyond = 1 + 0.16 / Math.max(0.08, region.height);
    return placeIn(region, shape, -Math.min(beyond, 3), 0);
  }

  moved(place) {
    const { drag, shape } = this;
    if (!drag || !place) return;
    if (this.kind === 'line') this.line = [drag.from, place];
    else if (this.kind === 'reference') this.reference = between(drag.from, place, 0, shape);
    else if (drag.turns) {
      const { y, x, height, width } = this.region;
      const deg = (Math.atan2((place[1] - x - width / 2) * shape.cols, -(place[0] - y - height / 2) * shape.rows) * 180) / Math.PI;
      this.region = { ...this.region, rotation_deg: Math.round(deg) };
    } else if (drag.moves) {
      this.region = { ...drag.region, y: drag.region.y + place[0] - drag.moves[0], x: drag.region.x + place[1] - drag.moves[1] };
    } else this.region = between(drag.from, place, drag.rotation_deg, shape);
    this.changed();
  }

  up() {
    const { drag, kind } = this;
    this.drag = null;
    if (!drag) return;
    const small = (one) => one && Math.max(one.height, one.width) < SMALLEST;
    if (kind === 'line' && this.line && Math.hypot(this.line[1][0] - this.line[0][0], this.line[1][1] - this.line[0][1]) < SMALLEST) this.line = null;
    if (kind === 'reference' && small(this.reference)) this.reference = null;
    if (kind === 'region' && this.region) this.setRegion(small(this.region) ? null : this.region);
    this.changed();
  }

  /** Enter at `place`, from the keyboard: one end of what is drawn, then the other. */
  enter(place) {
    if (this.kind === 'move' || !place) return;
    if (this.drag) { this.moved(place); this.up(); } else this.drag = { from: place, rotation_deg: 0 };
  }

  /** Draw on a panel: `at(place)` gives the screen's [x, y]; `field` is {widthNm, heightNm} or null. */
  draw(context, at, field) {
    context.lineWidth = 1.5;
    if (this.line) this.drawLine(context, at, field);
    if (this.reference) this.outline(context, at, this.reference, REFERENCE, 'reference');
    if (this.region) {
      const { region } = this;
      const size = field ? `${lengthText(region.width * field.widthNm)} × ${lengthText(region.height * field.heightNm)}` : '';
      this.outline(context, at, region, REGION, [size, region.rotation_deg ? `${region.rotation_deg}°` : ''].filter(Boolean).join(', '));
      if (this.kind === 'region') {
        const [top, grip] = [at(placeIn(region, this.shape, -1, 0)), at(this.handle())];
        context.beginPath();
        context.moveTo(...top);
        context.lineTo(...grip);
        context.stroke();
        for (const [x, y] of [grip, ...corners(region, this.shape).map(at)]) this.dot(context, x, y, REGION);
      }
    }
  }

  drawLine(context, at, field) {
    const [from, to] = this.line.map(at);
    context.strokeStyle = LINE;
    context.beginPath();
    context.moveTo(...from);
    context.lineTo(...to);
    context.stroke();
    for (const [x, y] of [from, to]) this.dot(context, x, y, LINE);
    if (!field) return;
    const { nm, deg } = measureLine(this.line, field.widthNm, field.heightNm);
    this.label(context, (from[0] + to[0]) / 2, (from[1] + to[1]) / 2 - 14, `${lengthText(nm)}  ${deg.toFixed(1)}°`, LINE);
  }

  outline(context, at, region, colour, text) {
    const places = corners({ rotation_deg: 0, ...region }, this.shape).map(at);
    context.strokeStyle = colour;
    context.beginPath();
    places.forEach(([x, y], i) => (i ? context.lineTo(x, y) : context.moveTo(x, y)));
    context.closePath();
    context.stroke();
    const lowest = places.reduce((a, b) => (b[1] > a[1] ? b : a));
    if (text) this.label(context, (Math.min(...places.map((p) => p[0])) + Math.max(...places.map((p) => p[0]))) / 2, lowest[1] + 14, text, colour);
  }

  dot(context, x, y, colour) {
    context.fillStyle = '#0a0d12';
    context.beginPath();
    context.arc(x, y, 4, 0, 2 * Math.PI);
    context.fill();
    context.strokeStyle = colour;
    context.stroke();
  }

  label(context, x, y, text, colour) {
    const width = context.measureText(text).width + 12;
    context.fillStyle = 'rgba(8, 11, 16, 0.84)';
    context.fillRect(x - width / 2, y - 10, width, 20);
    context.fillStyle = colour;
    context.textAlign = 'center';
    context.fillText(text, x, y + 0.5);
    context.textAlign = 'left';
  }
}
