// How the specimen drifts: where it was in the last frames as a small trace, its rate in words, and whether paths follow.

const byId = (id) => document.getElementById(id);
const SIDE = 32;
const LEAST_PX = 4; // of the specimen's way that fill the trace at least, so that a still one looks still

/** Points of an SVG polyline for places (y, x) in pixels; the newest lies last. */
export function traceOf(places) {
  const ys = places.map(([y]) => y);
  const xs = places.map(([, x]) => x);
  const [top, left] = [Math.min(...ys), Math.min(...xs)];
  const extent = Math.max(Math.max(...ys) - top, Math.max(...xs) - left, LEAST_PX);
  const at = (value, from, span) => ((value - from + (extent - span) / 2) / extent * (SIDE - 4) + 2).toFixed(1);
  const [high, wide] = [Math.max(...ys) - top, Math.max(...xs) - left];
  return places.map(([y, x]) => `${at(x, left, wide)},${at(y, top, high)}`).join(' ');
}

/** Rate and what is done about it, in a few words. */
export function driftText({ rate_px: rate, compensated, shift_px: shift, bend_px: bend, short_px: short }) {
  if (!rate) return '';
  const words = [`${Math.hypot(...rate).toFixed(2)} px a frame`];
  if (compensated) words.push(short > 0.5 ? `${short.toFixed(0)} px short, at the field's edge` : `followed by ${Math.hypot(...shift).toFixed(1)} px`);
  if (compensated && bend.some((way) => way !== 0)) words.push(`bent by ${Math.hypot(...bend).toFixed(1)} px`);
  return words.join(', ');
}

/** Show the drift of a status; nothing while none was measured. */
export function showDrift(drift) {
  const text = driftText(drift);
  byId('drift-row').hidden = text === '';
  if (text === '') return;
  byId('drift').textContent = text;
  byId('drift').dataset.kind = drift.short_px > 0.5 ? 'warn' : 'none';
  byId('drift-line').setAttribute('points', traceOf(drift.trace_px));
}
