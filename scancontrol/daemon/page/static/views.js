// What the right picture shows: values, their window and colours, and the words that say what it is. Pure.

import { figure } from './figures.js';
import { powerSpectrum } from './fourier.js';
import { difference, magnitude, nearestMeasured } from './images.js';
import { alike, measuredFor } from './scene.js';

export const VIEWS = ['restoration', 'interval', 'difference', 'truth', 'fourier'];

/** Computes `make()` once for each `key`, for the last key of each name. */
export class Once {
  constructor() { this.kept = new Map(); }

  get(name, key, make) {
    const before = this.kept.get(name);
    if (before?.key === key) return before.value;
    const value = make();
    this.kept.set(name, { key, value });
    return value;
  }
}

/** Who made a restoration and from what, as it stands on the picture. */
export function provenance({ made_by: by, partial }) {
  const lattice = by.lattice_share ? `lattice ${Math.round(100 * by.lattice_share)} %` : '';
  const frames = by.frames > 1 ? `${by.frames} frames` : '';
  return ['RESTORED', by.face, by.method, (by.weights_hash ?? '').slice(0, 8), frames, lattice, by.cause && `readings: ${by.cause}?`, partial && 'frame in progress'].filter(Boolean).join(' · ');
}

/**
 * The chosen view of what is shown: {values, rows, cols, window: {low, high, map, gamma}, bar, watermark, frequencies},
 * or {missing: [headline, explanation]}. `tone` is {low, high, map, gamma} of the pictures in sample units.
 */
export function rightView(view, shown, tone, once) {
  const { restoration, truth } = shown;
  const { estimate, interval } = restoration.planes;
  const { rows, cols } = restoration;
  const grey = { rows, cols, window: tone, bar: tone.map === 'grey' ? null : { map: tone.map, gamma: tone.gamma, low: figure(tone.low), high: figure(tone.high) } };
  if (view === 'interval') {
    if (!interval) return { missing: ['No interval', `${restoration.made_by.method} gives an estimate without one.`] };
    const high = once.get('interval', restoration.seq, () => magnitude(interval, interval.reduce((a, b) => Math.max(a, b), 0), 0.995));
    return { values: interval, rows, cols, window: { low: 0, high, map: 'viridis' }, bar: { map: 'viridis', low: '0', high: figure(high) },
      watermark: ['90 % INTERVAL · half-width', '#a6d854'] };
  }
  if (view === 'truth') {
    return truth ? { ...grey, rows: truth.rows, cols: truth.cols, values: truth.planes.image, watermark: ['TRUTH · simulated specimen', '#8fd694'] }
      : { missing: ['No truth', 'Only a dry run knows what the specimen really is.'] };
  }
  if (view === 'difference') {
    const measured = measuredFor(shown);
    const known = alike(truth, restoration) ? truth.planes.image : null;
    const other = known ?? (measured && once.get('nearest', measured.seq,
      () => nearestMeasured(measured.planes.image, measured.planes.weight, measured.rows, measured.cols)));
    if (!other) return { missing: ['No difference', 'There is nothing to compare the restoration with yet.'] };
    const { values, limit } = once.get('difference', `${restoration.seq} ${known ? truth.seq : measured.seq}`, () => difference(estimate, other));
    return { values, rows, cols, window: { low: -limit, high: limit, map: 'diverging' },
      bar: { map: 'diverging', low: `−${figure(limit)}`, high: `+${figure(limit)}` },
      watermark: [known ? 'RESTORED − TRUTH' : 'RESTORED − NEAREST MEASURED', '#ffc46b'] };
  }
  if (view === 'fourier') {
    const { values, side, low, high } = once.get('fourier', restoration.seq, () => powerSpectrum(estimate, rows, cols));
    return { values, rows: side, cols: side, window: { low, high, map: tone.map === 'inverted' ? 'inverted' : 'grey', gamma: 1 }, bar: null, frequencies: true,
      watermark: ['FOURIER TRANSFORM of the restoration · log power', '#c792ea'] };
  }
  const words = `${shown.held ? 'HELD · ' : ''}${provenance(restoration)}`;
  return { ...grey, values: estimate, watermark: [words, restoration.partial || shown.held ? '#ffb454' : '#63c7f2'] };
}
