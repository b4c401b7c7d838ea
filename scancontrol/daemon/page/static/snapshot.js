// The picture on show as a file: PNG as it is seen, with scale bar and where it comes from; TIFF with its values first.

import { lengthText, niceLength, tones } from './colour.js';
import { figure } from './figures.js';
import { onlyKnown } from './images.js';
import { encodeTiff } from './tiff.js';
import { paintView, provenance } from './views.js';

const LEAST_SIDE = 1024; // a smaller picture is drawn with whole pixels this large at least
const BAND = 64; // below it: scale bar and words

/** The facts of a picture, as lines of text: what it is, of which frame, with which settings. */
function factsOf(view, { restoration }, status, now) {
  const plan = status?.plan;
  const lines = [view.watermark[0]];
  if (view.watermark[0] !== provenance(restoration)) lines.push(`of ${provenance(restoration)}`);
  lines.push([now.toISOString(), `frame ${restoration.frame + 1}`, plan?.plan, plan && `${figure(plan.dwell_us)} µs`, plan && `${figure(plan.beam_current_pa)} pA`,
    plan && `dose ${figure(plan.worst_area_frame_e_per_a2)} e/Å² a frame, worst area`, status?.dose.specimen].filter(Boolean).join(' · '));
  return lines;
}

/** The view painted whole, with a band below it: a canvas. `scale` is {width, text(length)} of the scale bar, or null. */
export function compose(view, scale, facts) {
  const grow = Math.max(1, Math.ceil(LEAST_SIDE / Math.max(view.rows, view.cols)));
  const small = document.createElement('canvas');
  [small.width, small.height] = [view.cols, view.rows];
  const image = small.getContext('2d').createImageData(view.cols, view.rows);
  paintView(new Uint32Array(image.data.buffer), view);
  small.getContext('2d').putImageData(image, 0, 0);
  const canvas = document.createElement('canvas');
  [canvas.width, canvas.height] = [view.cols * grow, view.rows * grow + BAND];
  const context = canvas.getContext('2d', { alpha: false });
  context.imageSmoothingEnabled = false;
  context.drawImage(small, 0, 0, view.cols * grow, view.rows * grow);
  const top = view.rows * grow;
  context.fillStyle = '#000000';
  context.fillRect(0, top, canvas.width, BAND);
  context.fillStyle = '#ffffff';
  context.font = '15px system-ui, "DejaVu Sans", sans-serif';
  context.textBaseline = 'middle';
  let left = 16;
  if (scale) {
    const length = niceLength(0.2 * scale.width);
    const width = (length / scale.width) * canvas.width;
    context.fillRect(left, top + 38, width, 6);
    context.fillText(scale.text(length), left, top + 20);
    left += Math.max(width, context.measureText(scale.text(length)).width) + 28;
  }
  const barWidth = view.bar ? 150 : 0;
  facts.forEach((line, i) => context.fillText(line, left, top + 13 + 19 * i, canvas.width - left - barWidth - 34));
  if (view.bar) {
    const lut = tones(view.bar.map, view.bar.gamma);
    const from = canvas.width - barWidth - 16;
    for (let i = 0; i < barWidth; i++) {
      const p = lut[Math.round((i / (barWidth - 1)) * (lut.length - 1))];
      context.fillStyle = `rgb(${p & 255} ${(p >>> 8) & 255} ${(p >>> 16) & 255})`;
      context.fillRect(from + i, top + 38, 1, 10);
    }
    context.fillStyle = '#ffffff';
    context.fillText(view.bar.low, from, top + 20);
    context.textAlign = 'right';
    context.fillText(view.bar.high, from + barWidth, top + 20);
  }
  return canvas;
}

/** Bytes of a TIFF: the values as they came here, calibrated as ImageJ reads it, then the picture as it is seen. */
export function tiffOf(view, canvas, pixelNm, facts) {
  const seen = canvas.getContext('2d').getImageData(0, 0, canvas.width, canvas.height).data;
  const rgb = new Uint8Array(3 * canvas.width * canvas.height);
  for (let i = 0, j = 0; i < seen.length; i += 4) { rgb[j++] = seen[i]; rgb[j++] = seen[i + 1]; rgb[j++] = seen[i + 2]; }
  const words = facts.join('\n').replaceAll('\u2009', ' ');
  const unit = pixelNm && !view.frequencies ? pixelNm : null;
  const description = `ImageJ=1.54\n${unit ? 'unit=nm\n' : ''}min=${view.window.low}\nmax=${view.window.high}\n${words}\n`;
  return encodeTiff([
    { rows: view.rows, cols: view.cols, data: onlyKnown(view.stored ?? view.values, view.known, NaN), description, pixelNm: unit },
    { rows: canvas.height, cols: canvas.width, data: rgb, description: words, pixelNm: null },
  ]);
}

function download(blob, name) {
  const link = document.createElement('a');
  link.href = URL.createObjectURL(blob);
  link.download = name;
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 10_000);
}

/** Save what `pictures` show as `kind`, "png" or "tiff"; returns the file's name, or null where there is no picture. */
export function saveSnapshot(kind, pictures, status, now = new Date()) {
  const { drawn: view, shown } = pictures;
  if (!view) return null;
  const measured = shown.partial;
  const pixelNm = pictures.pixelNm(shown.restoration, measured);
  const scale = view.frequencies ? pictures.frequencyScale(shown.restoration, measured)
    : pixelNm && { width: pixelNm * view.cols, text: lengthText };
  const facts = factsOf(view, shown, status, now);
  const stamp = now.toISOString().slice(0, 19).replaceAll(':', '').replace('T', '-');
  const name = `${stamp}-frame-${shown.restoration.frame + 1}-${pictures.view}.${kind}`;
  const canvas = compose(view, scale, facts);
  if (kind === 'png') canvas.toBlob((blob) => download(blob, name), 'image/png');
  else download(new Blob([tiffOf(view, canvas, pixelNm, facts)], { type: 'image/tiff' }), name);
  return name;
}
