// What the right picture shows: values, their window and colours, and the words that say what it is. Pure.

import { figure } from './figures.js';
import { powerSpectrum } from './fourier.js';
import { difference, magnitude, nearestMeasured, leaveOut, onlyKnown, paint } from './images.js';
import { alike, measuredFor } from './scene.js';
import { COMPONENTS, strainOverlay, tint } from './strain.js';

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

function meanKnown(values, known) {
  let [sum, count] = [0, 0];
  if (known) for (let i = 0; i < values.length; i++) if (known[i]) { sum += values[i]; count += 1; }
  return count ? sum / count : 0;
}

/** Who made a restoration and from what, as it stands on the picture. */
export function provenance({ made_by: by, partial }) {
  const lattice = by.lattice_share ? `lattice ${Math.round(100 * by.lattice_share)} %` : '';
  const frames = by.frames > 1 ? `${by.frames} frames` : '';
  return ['RESTORED', by.face, by.method, (by.weights_hash ?? '').slice(0, 8), frames, lattice, by.cause && `readings: ${by.cause}?`, partial && 'frame in progress'].filter(Boolean).join(' · ');
}

/** Paint a view's pixels: its values in its window, and over them what it is tinted by. */
export function paintView(pixels, view) {
  paint(pixels, view.values, view.window);
  if (view.overlay) tint(pixels, view.overlay);
  if (view.known) leaveOut(pixels, view.known);
}

/**
 * The chosen view of what is shown: {values, rows, cols, known, window: {low, high, map, gamma}, bar, watermark, frequencies},
 * or {missing: [headline, explanation]}. `tone` is {low, high, map, gamma} of the pictures in sample units; `strain` which component is wanted, {component, reference}.
 */
export function rightView(view, shown, tone, once, strain) {
  const { restoration, truth } = shown;
  const { estimate, interval, known = null } = restoration.planes;
  const { rows, cols } = restoration;
  const grey = { rows, cols, window: tone, bar: tone.map === 'grey' ? null : { map: tone.map, gamma: tone.gamma, low: figure(tone.low), high: figure(tone.high) } };
  if (view === 'interval') {
    if (!interval) return { missing: ['No interval', `${restoration.made_by.method} gives an estimate without one.`] };
    const high = once.get('interval', restoration.seq, () => {
      const held = onlyKnown(interval, known, 0);
      return magnitude(held, held.reduce((a, b) => Math.max(a, b), 0), 0.995);
    });
    return { values: interval, rows, cols, known, window: { low: 0, high, map: 'viridis' }, bar: { map: 'viridis', low: '0', high: figure(high) },
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
    const { values, limit } = once.get('difference', `${restoration.seq} ${known ? truth.seq : measured.seq}`, () => difference(estimate, other, known));
    return { values, rows, cols, known, window: { low: -limit, high: limit, map: 'diverging' },
      bar: { map: 'diverging', low: `−${figure(limit)}`, high: `+${figure(limit)}` },
      watermark: [known ? 'RESTORED − TRUTH' : 'RESTORED − NEAREST MEASURED', '#ffc46b'] };
  }
  if (view === 'strain') return { ...grey, known, values: estimate, ...strained(restoration, once, strain) };
  if (view === 'fourier') {
    const { values, side, low, high } = once.get('fourier', restoration.seq, () => powerSpectrum(onlyKnown(estimate, known, meanKnown(estimate, known)), rows, cols));
    return { values, rows: side, cols: side, window: { low, high, map: tone.map === 'inverted' ? 'inverted' : 'grey', gamma: 1 }, bar: null, frequencies: true,
      watermark: ['FOURIER TRANSFORM of the restoration · log power', '#c792ea'] };
  }
  const words = `${shown.held ? 'HELD · ' : ''}${provenance(restoration)}`;
  return { ...grey, values: estimate, known, watermark: [words, restoration.partial || shown.held ? '#ffb454' : '#63c7f2'] };
}

/** The parts of a view that shows strain over the restoration, or why there is none. */
function strained(restoration, once, { component, reference }) {
  if (!restoration.strain) {
    return { missing: ['No lattice', 'Strain is shown where this frame’s own samples prove a lattice; they do not here.'] };
  }
  const overlay = once.get('strain', `${restoration.seq} ${component} ${JSON.stringify(reference)}`,
    () => strainOverlay(component, restoration, reference));
  const [words, scale, unit] = COMPONENTS[component];
  const end = `${figure(overlay.limit * scale)} ${unit}`;
  return {
    overlay, stored: overlay.values, bar: { map: 'diverging', low: `−${end}`, high: `+${end}` },
    watermark: [`${words} from the ${reference ? 'reference' : 'mean'} lattice · faint below 2 σ · lattice ${Math.round(100 * (restoration.made_by.lattice_share ?? 0))} %`, '#c792ea'],
  };
}
