// The two pictures, what stands beside them, and the line that reads them.

import { lengthText } from './colour.js';
import { duration, figure } from './figures.js';
import { frequencyAt } from './fourier.js';
import { markMeasured, paintPartial, shrink } from './images.js';
import { Viewport } from './panel.js';
import { alike, measuredFor } from './scene.js';
import { COMPONENTS } from './strain.js';
import { Once, paintView, provenance, rightView } from './views.js';

const byId = (id) => document.getElementById(id);
const SPARSE = 0.035; // below this coverage the samples are drawn larger than they are

/** Why there is no restoration to show: [headline, explanation], or null. */
export function absence(status, restoration) {
  const state = status?.restorer.state;
  if (state === 'dead' || state === 'restarting') {
    const next = state === 'restarting' ? 'It is being started again.' : 'It will be started again.';
    return ['The restorer has stopped', `The scan goes on and its samples are safe; the partial scan is shown alone. ${next}`];
  }
  if (state === 'off') return ['No restorer', 'The partial scan is shown alone.'];
  if (restoration) return null;
  if (state === 'starting') return ['The restorer is starting', 'Its first picture comes when it is warm.'];
  return ['Nothing restored yet', status?.restorer.queue ? 'The first picture is on its way.' : 'Choose a plan and press Space.'];
}

/** Width and height of a frame's field in nm, or null where they are not known. */
export function fieldOf(frame) {
  return frame?.fov_nm ? { widthNm: frame.fov_nm, heightNm: (frame.fov_nm * frame.full_rows) / frame.full_cols } : null;
}

/** Draw the outline of the region that was scanned. */
function outlineOf(context, corners) {
  context.strokeStyle = 'rgba(223, 230, 238, 0.55)';
  context.lineWidth = 1;
  context.beginPath();
  corners.forEach(([x, y], i) => (i ? context.lineTo(x, y) : context.moveTo(x, y)));
  context.closePath();
  context.stroke();
}

export class Pictures {
  /** `panels` {left, right}, drawn on with `tools`; `tone()` is {low, high, map, gamma} of the values' colours. */
  constructor(panels, tools, tone) {
    Object.assign(this, { panels, tools, tone, once: new Once(), view: 'restoration', component: 'exx', overlay: false, cursor: null });
    this.field = panels.left.viewport; // looked at in both
    this.frequencies = new Viewport();
    this.shown = null;
    this.drawn = null; // what the right picture shows, for whoever takes a snapshot of it
  }

  draw(shown, status) {
    this.shown = shown;
    this.drawLeft(shown, status);
    this.drawRight(shown, status);
    this.drawReadout(shown, status);
  }

  drawLeft(shown, status) {
    const { beside } = shown;
    const besides = Boolean(beside) && beside.channel === status?.beside && !absence(status, beside);
    byId('left-title').textContent = besides ? 'Restored' : 'Partial scan';
    if (besides) this.drawBeside(beside, shown);
    else this.drawPartial(shown, status);
  }

  /** The restoration of another detector in place of the partial scan, in a window of its own. */
  drawBeside(restoration, shown) {
    const panel = this.panels.left;
    const { estimate, known = null } = restoration.planes;
    const [low, high] = this.once.get('beside', restoration.seq, () => {
      const held = estimate.filter((_, i) => !known || known[i]).sort();
      return [held[Math.floor(0.0035 * (held.length - 1))], held[Math.ceil(0.9965 * (held.length - 1))]];
    });
    const { map, gamma } = this.tone();
    paintView(panel.pixelsFor(restoration.rows, restoration.cols), { values: estimate, known, window: { low, high, map, gamma } });
    const measured = shown.partial ?? shown.complete;
    panel.draw({ ...this.decorOf(measured), watermark: [`${restoration.channel} · ${provenance(restoration)}`, restoration.partial ? '#ffb454' : '#63c7f2'] });
    byId('left-caption').textContent = `frame ${restoration.frame + 1}`;
    byId('left-foot').textContent = `${restoration.channel}: window ${figure(low)} to ${figure(high)}`;
    byId('progress').style.width = '0';
  }

  drawPartial({ partial, complete, held }, status) {
    const panel = this.panels.left;
    if (!partial) {
      panel.clear();
      panel.draw({});
      byId('left-caption').textContent = held ? 'its samples are not kept here' : 'nothing measured yet';
      byId('left-foot').textContent = '';
      return;
    }
    this.tools.shape = { rows: partial.full_rows, cols: partial.full_cols };
    const before = !partial.complete && alike(partial, complete) && complete.series === partial.series ? complete : null;
    const sparse = (partial.planned ?? partial.samples) < SPARSE * partial.full_rows * partial.full_cols;
    const factor = panel.shrinkage(partial.cols, sparse);
    const fit = (frame) => (factor === 1 ? { values: frame.planes.image, weight: frame.planes.weight, rows: frame.rows, cols: frame.cols }
      : shrink(frame.planes.image, frame.planes.weight, frame.rows, frame.cols, factor));
    const now = fit(partial);
    paintPartial(panel.pixelsFor(now.rows, now.cols, partial.rows / factor, partial.cols / factor), now.values, now.weight,
      this.tone(), before && fit(before), status?.plan?.saturation_counts ?? null);
    panel.draw(this.decorOf(partial));
    const share = partial.complete ? 1 : partial.planned ? partial.samples / partial.planned : null;
    const of = status?.scan.frames_planned ? ` of ${status.scan.frames_planned}` : '';
    const binned = partial.binning > 1 ? ` · shown ${partial.binning}× binned` : '';
    byId('left-caption').textContent = `frame ${partial.frame + 1}${of} · ${figure(partial.samples, 9)} samples`;
    const field = partial.fov_nm ? ` · field ${lengthText(partial.fov_nm)} · pixel ${lengthText(partial.fov_nm / partial.full_cols)}` : '';
    byId('left-foot').textContent = `${partial.full_cols} × ${partial.full_rows} px${field}${binned}${factor > 1 ? ` · drawn ${factor} × ${factor}` : ''}`;
    byId('progress').style.width = `${(share ?? 0) * 100}%`;
  }

  /** Scale bar and what is drawn by hand, on a picture of this frame's field. */
  decorOf(frame) {
    const field = fieldOf(frame);
    const outline = this.shown.restoration?.outline;
    return {
      scale: field && { width: field.widthNm, text: lengthText },
      over: (context, at) => {
        if (outline) outlineOf(context, outline.map(at));
        this.tools.draw(context, at, field);
      },
    };
  }

  drawRight(shown, status) {
    const panel = this.panels.right;
    const { restoration } = shown;
    const absent = absence(status, restoration);
    const view = absent ? { missing: absent } : rightView(this.view, shown, this.tone(), this.once, { component: this.component, reference: this.tools.reference });
    const message = byId('right-message');
    message.hidden = !view.missing;
    byId('right').classList.toggle('without', Boolean(view.missing));
    this.drawn = view.missing ? null : view;
    panel.viewport = view.frequencies ? this.frequencies : this.field;
    panel.cursor = view.frequencies ? (this.cursor?.panel === 'right' ? this.cursor.place : null) : this.cursorOnField();
    this.panels.left.cursor = view.frequencies && this.cursor?.panel === 'right' ? null : this.cursorOnField();
    byId('strain-keys').hidden = this.view !== 'strain';
    byId('strain-component').value = this.component;
    if (view.missing) {
      const [head, text] = view.missing.map((words) => document.createTextNode(words));
      const strong = document.createElement('strong');
      strong.append(head);
      message.replaceChildren(strong, text);
      panel.clear();
      panel.draw({});
      byId('right-caption').textContent = '';
      return;
    }
    const measured = measuredFor(shown);
    const pixels = panel.pixelsFor(view.rows, view.cols);
    paintView(pixels, view);
    if (this.overlay && measured && !view.frequencies && alike(measured, view)) markMeasured(pixels, measured.planes.weight);
    const { scale, over } = view.frequencies ? { scale: this.frequencyScale(restoration, measured), over: null } : this.decorOf(measured);
    const [words, colour] = view.watermark;
    const named = (status?.channels ?? []).length > 1 && restoration.channel ? `${restoration.channel} · ${words}` : words;
    panel.draw({ scale, over, watermark: [named, colour], bar: view.bar });
    byId('right-caption').textContent = this.caption(shown, status);
  }

  cursorOnField() { return this.cursor && !(this.drawn?.frequencies && this.cursor.panel === 'right') ? this.cursor.place : null; }

  /** Side of a restoration's pixel in nm, as it came here; null where it is not known. */
  pixelNm(restoration, measured) { return measured?.fov_nm ? (measured.fov_nm / measured.full_cols) * restoration.binning : null; }

  frequencyScale(restoration, measured) {
    const pixelNm = this.pixelNm(restoration, measured);
    return pixelNm && { width: 1 / pixelNm, text: (perNm) => `${Number(perNm.toPrecision(3))} nm⁻¹` };
  }

  /** Which frame it is, how old, from how many frames, and what it waited for. */
  caption({ restoration, held }, status) {
    const { frames, age_frames: oldest } = restoration.made_by;
    const words = [`frame ${restoration.frame + 1}${restoration.partial ? ', in progress' : ''}`];
    if (held) words.push(`held, ${held} before the newest`);
    if (frames > 1) words.push(`of ${frames} frames, the oldest ${oldest} ago`);
    if (restoration.latency_ms != null && !held) words.push(`${duration(restoration.latency_ms)} after its last sample`);
    const age = this.ageMs(restoration, status);
    if (age !== null) words.push(`${age < 9950 ? `${(age / 1e3).toFixed(1)} s` : age < 60e3 ? `${Math.round(age / 1e3)} s` : `${Math.round(age / 60e3)} min`} old`);
    return words.join(' · ');
  }

  /** How long ago, by the daemon's clock, the last sample of a restoration was scanned; null where it is not known. */
  ageMs({ scanned_utc_ms: scanned }, status) {
    if (scanned == null || !status) return null;
    return Math.max(0, status.utc_ns / 1e6 + (performance.now() - status.arrivedAt) - scanned);
  }

  drawReadout(shown, status) {
    const { partial, restoration } = shown;
    const node = byId('readout');
    const put = (words) => { if (node.textContent !== words) node.textContent = words; };
    if (!this.cursor || !partial) { put('Point at a picture to read its values; wheel and drag to look closer; ? for the keys'); return; }
    const { place } = this.cursor;
    if (this.drawn?.frequencies && this.cursor.panel === 'right') {
      const pixelNm = this.pixelNm(restoration, measuredFor(shown));
      if (!pixelNm) { put('The field is not known, nor are frequencies'); return; }
      const { perNm, dNm, angleDeg } = frequencyAt(place, this.drawn.cols, pixelNm);
      put(perNm ? `${perNm.toPrecision(4)} nm⁻¹   ·   d ${dNm < 1 ? `${(10 * dNm).toPrecision(4)} Å` : `${dNm.toPrecision(4)} nm`}   ·   ${angleDeg.toFixed(1)}°` : 'origin');
      return;
    }
    const at = (frame) => Math.floor(place[0] * frame.rows) * frame.cols + Math.floor(place[1] * frame.cols);
    const words = [`row ${Math.floor(place[0] * partial.full_rows)}, column ${Math.floor(place[1] * partial.full_cols)}`];
    const field = fieldOf(partial);
    if (field) words.push(`y ${lengthText(place[0] * field.heightNm)}, x ${lengthText(place[1] * field.widthNm)}`);
    words.push(partial.planes.weight[at(partial)] ? `measured ${figure(partial.planes.image[at(partial)])}` : 'not measured');
    if (restoration && !absence(status, restoration)) {
      const { estimate, interval, known } = restoration.planes;
      if (known && !known[at(restoration)]) words.push('not known here');
      else words.push(`restored ${figure(estimate[at(restoration)])}${interval ? ` ± ${figure(interval[at(restoration)])}` : ''}`);
    }
    if (this.drawn?.overlay) {
      const [name, scale, unit] = COMPONENTS[this.component];
      const { values, sd } = this.drawn.overlay;
      words.push(`${name} ${figure(values[at(restoration)] * scale)} ± ${figure(sd[at(restoration)] * scale)} ${unit}`);
    }
    if (shown.truth) words.push(`truth ${figure(shown.truth.planes.image[at(shown.truth)])}`);
    put(words.join('   ·   '));
  }
}
