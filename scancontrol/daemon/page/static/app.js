// The page: what came last, what is chosen, and drawing it once per screen refresh.
// link.js brings messages, panel.js draws pictures, figures.js the numbers, controls.js asks.

import { lengthText } from './colour.js';
import { Controls } from './controls.js';
import { duration, figure, logNotice, showStatus } from './figures.js';
import { CLIPS, Contrast } from './histogram.js';
import { difference, magnitude, markMeasured, nearestMeasured, paint, paintPartial, shrink } from './images.js';
import { BlankLine, Link, takeToken } from './link.js';
import { Panel, Viewport } from './panel.js';

const byId = (id) => document.getElementById(id);
const STALE_MS = 4000;
const SPARSE = 0.035; // below this coverage the samples are drawn larger than they are

const seen = {
  connected: false, everConnected: false, role: null, status: null, statusAt: 0,
  partial: null, complete: null, restoration: null, truth: null,
};
const chosen = { view: 'restoration', overlay: false, cursor: null };
const drawn = { acks: [], nearest: null };
let scheduled = false;

const viewport = new Viewport();
const panels = {
  left: new Panel(byId('left-canvas'), viewport, schedule, pointed),
  right: new Panel(byId('right-canvas'), viewport, schedule, pointed),
};
const contrast = new Contrast(byId('histogram'), () => schedule());
const token = takeToken();
const controls = new Controls((command) => link.send(command), new BlankLine(token), {
  view(view) { if (!tab(view).hidden) { chosen.view = view; schedule(); } },
  overlay() { chosen.overlay = !chosen.overlay; schedule(); },
  lock() { contrast.toggleLock(); },
  clip(by) { contrast.step(by); },
  zoom(factor) {
    if (factor) viewport.zoomAt(factor, ...(chosen.cursor ?? [viewport.cy, viewport.cx])); else viewport.reset();
    schedule();
  },
});

const link = new Link(token, {
  open() { seen.connected = true; seen.everConnected = true; seen.statusAt = performance.now(); schedule(); },
  close() { seen.connected = false; drawn.acks = []; schedule(); },
  message(message) {
    if (message.type === 'status') { seen.status = message; seen.statusAt = performance.now(); }
    else if (message.type === 'hello') {
      // It may be another daemon than before: whatever it has comes again in a moment.
      Object.assign(seen, { role: message.role, partial: null, complete: null, restoration: null, truth: null });
    }
    else if (message.type === 'notice') logNotice(message.text, message.level, message.utc_ms);
    else if (message.type === 'refusal') logNotice(message.text, 'warning', null);
    schedule();
  },
  frame(frame) { take(frame); drawn.acks.push(frame.seq); schedule(); },
});

function take(frame) {
  if (frame.type === 'truth') { seen.truth = frame.planes.image ? frame : null; return; }
  if (frame.type === 'restoration') {
    seen.restoration = frame;
    contrast.takeRestored(frame.planes.estimate);
    return;
  }
  if (frame.type === 'complete') seen.complete = frame;
  // A frame's last state can arrive before one of its earlier ones: each kind has its own place in the queue.
  if (!seen.partial || frame.seq > seen.partial.seq) seen.partial = frame;
  // A whole frame has the better statistics; until there is one, those of what has come so far.
  if (frame.complete || !seen.complete || seen.complete.series !== frame.series) contrast.take(frame.planes.image, frame.planes.weight);
}

function schedule() {
  if (scheduled) return;
  scheduled = true;
  requestAnimationFrame(draw);
}

function pointed(place) {
  chosen.cursor = place;
  panels.left.cursor = place;
  panels.right.cursor = place;
  schedule();
}

const tab = (view) => document.querySelector(`[data-view="${view}"]`);
const alike = (a, b) => a && b && a.rows === b.rows && a.cols === b.cols;

/** The measured frame that belongs to the restoration on show: its own if it is here, else the newest. */
function measuredFor(restoration) {
  const same = (frame) => alike(frame, restoration) && frame.series === restoration.series && frame.frame === restoration.frame;
  return [seen.complete, seen.partial].find(same) ?? [seen.partial, seen.complete].find((frame) => alike(frame, restoration)) ?? null;
}

/** Nearest-measured fill of a frame, computed once. */
function nearestOf(frame) {
  if (drawn.nearest?.seq !== frame.seq) {
    drawn.nearest = { seq: frame.seq, values: nearestMeasured(frame.planes.image, frame.planes.weight, frame.rows, frame.cols) };
  }
  return drawn.nearest.values;
}

function drawLeft() {
  const { partial, complete, status } = seen;
  const panel = panels.left;
  if (!partial) { panel.clear(); panel.draw({}); byId('left-caption').textContent = 'nothing measured yet'; byId('left-foot').textContent = ''; return; }
  const before = !partial.complete && alike(partial, complete) && complete.series === partial.series ? complete : null;
  const sparse = (partial.planned ?? partial.samples) < SPARSE * partial.full_rows * partial.full_cols;
  const factor = panel.shrinkage(partial.cols, sparse);
  const fit = (frame) => (factor === 1 ? { values: frame.planes.image, weight: frame.planes.weight, rows: frame.rows, cols: frame.cols }
    : shrink(frame.planes.image, frame.planes.weight, frame.rows, frame.cols, factor));
  const now = fit(partial);
  paintPartial(panel.pixelsFor(now.rows, now.cols, partial.rows / factor, partial.cols / factor), now.values, now.weight, contrast.low, contrast.high,
    before && fit(before), status?.plan?.saturation_counts ?? null);
  panel.draw({ fovNm: partial.fov_nm });
  const share = partial.complete ? 1 : partial.planned ? partial.samples / partial.planned : null;
  const of = status?.scan.frames_planned ? ` of ${status.scan.frames_planned}` : '';
  const binned = partial.binning > 1 ? ` · shown ${partial.binning}× binned` : '';
  byId('left-caption').textContent = `frame ${partial.frame + 1}${of} · ${figure(partial.samples, 9)} samples`;
  const field = partial.fov_nm ? ` · field ${lengthText(partial.fov_nm)} · pixel ${lengthText(partial.fov_nm / partial.full_cols)}` : '';
  byId('left-foot').textContent = `${partial.full_cols} × ${partial.full_rows} px${field}${binned}${factor > 1 ? ` · drawn ${factor} × ${factor}` : ''}`;
  byId('progress').style.width = `${(share ?? 0) * 100}%`;
}

/** Why there is no restoration to show: [headline, explanation], or null. */
function absence() {
  const state = seen.status?.restorer.state;
  if (state === 'dead' || state === 'restarting') {
    const next = state === 'restarting' ? 'It is being started again.' : 'It will be started again.';
    return ['The restorer has stopped', `The scan goes on and its samples are safe; the partial scan is shown alone. ${next}`];
  }
  if (state === 'off') return ['No restorer', 'The partial scan is shown alone.'];
  if (seen.restoration) return null;
  if (state === 'starting') return ['The restorer is starting', 'Its first picture comes when it is warm.'];
  return ['Nothing restored yet', seen.status?.restorer.queue ? 'The first picture is on its way.' : 'Choose a plan and press Space.'];
}

/** Values, window and words of the chosen view: {values, low, high, map, watermark, bar}, or {missing}. */
function rightView(restoration) {
  const { estimate, interval } = restoration.planes;
  const grey = { low: contrast.low, high: contrast.high, map: 'grey', bar: null };
  if (chosen.view === 'interval') {
    if (!interval) return { missing: ['No interval', `${restoration.made_by.method} gives an estimate without one.`] };
    const high = magnitude(interval, interval.reduce((a, b) => Math.max(a, b), 0), 0.995);
    return { values: interval, low: 0, high, map: 'viridis', bar: { map: 'viridis', low: '0', high: figure(high) },
      watermark: ['90 % INTERVAL · half-width', '#a6d854'] };
  }
  if (chosen.view === 'truth') {
    return seen.truth ? { ...grey, values: seen.truth.planes.image, shape: seen.truth, watermark: ['TRUTH · simulated specimen', '#8fd694'] }
      : { missing: ['No truth', 'Only a dry run knows what the specimen really is.'] };
  }
  if (chosen.view === 'difference') {
    const measured = measuredFor(restoration);
    const truth = alike(seen.truth, restoration) ? seen.truth.planes.image : null;
    const other = truth ?? (measured && nearestOf(measured));
    if (!other) return { missing: ['No difference', 'There is nothing to compare the restoration with yet.'] };
    const { values, limit } = difference(estimate, other);
    return { values, low: -limit, high: limit, map: 'diverging',
      bar: { map: 'diverging', low: `−${figure(limit)}`, high: `+${figure(limit)}` },
      watermark: [truth ? 'RESTORED − TRUTH' : 'RESTORED − NEAREST MEASURED', '#ffc46b'] };
  }
  const { face, method, weights_hash: weights, frames } = restoration.made_by;
  const parts = ['RESTORED', face, method, (weights ?? '').slice(0, 8), frames && `${frames} frames`, restoration.partial && 'frame in progress'];
  return { ...grey, values: estimate, watermark: [parts.filter(Boolean).join(' · '), restoration.partial ? '#ffb454' : '#63c7f2'] };
}

function drawRight() {
  const { restoration } = seen;
  const panel = panels.right;
  let missing = absence();
  const view = missing ? { missing } : rightView(restoration);
  missing = view.missing ?? null;
  const message = byId('right-message');
  message.hidden = !missing;
  byId('right').classList.toggle('without', Boolean(missing));
  if (missing) {
    const [head, text] = missing.map((words) => document.createTextNode(words));
    const strong = document.createElement('strong');
    strong.append(head);
    message.replaceChildren(strong, text);
    panel.clear();
    panel.draw({});
    byId('right-caption').textContent = '';
    return;
  }
  const shape = view.shape ?? restoration;
  const pixels = panel.pixelsFor(shape.rows, shape.cols);
  paint(pixels, view.values, view.low, view.high, view.map);
  const measured = measuredFor(restoration);
  if (chosen.overlay && measured && alike(measured, shape)) markMeasured(pixels, measured.planes.weight);
  panel.draw({ fovNm: measured?.fov_nm, watermark: view.watermark, bar: view.bar });
  const latency = restoration.latency_ms == null ? '' : ` · ${duration(restoration.latency_ms)} after its last sample`;
  byId('right-caption').textContent = `frame ${restoration.frame + 1}${restoration.partial ? ', in progress' : ''}${latency}`;
}

function drawReadout() {
  const { partial, restoration } = seen;
  const node = byId('readout');
  if (!chosen.cursor || !partial) { node.textContent = 'Point at a picture to read its values; wheel and drag to look closer; ? for the keys'; return; }
  const at = (frame) => Math.floor(chosen.cursor[0] * frame.rows) * frame.cols + Math.floor(chosen.cursor[1] * frame.cols);
  const words = [`row ${Math.floor(chosen.cursor[0] * partial.full_rows)}, column ${Math.floor(chosen.cursor[1] * partial.full_cols)}`];
  if (partial.fov_nm) {
    const [y, x] = [chosen.cursor[0] * partial.fov_nm * partial.full_rows / partial.full_cols, chosen.cursor[1] * partial.fov_nm];
    words.push(`y ${lengthText(y)}, x ${lengthText(x)}`);
  }
  const weight = partial.planes.weight[at(partial)];
  words.push(weight ? `measured ${figure(partial.planes.image[at(partial)])}` : 'not measured');
  if (restoration && !absence()) {
    const { estimate, interval } = restoration.planes;
    words.push(`restored ${figure(estimate[at(restoration)])}${interval ? ` ± ${figure(interval[at(restoration)])}` : ''}`);
  }
  if (seen.truth) words.push(`truth ${figure(seen.truth.planes.image[at(seen.truth)])}`);
  node.textContent = words.join('   ·   ');
}

function drawBanner() {
  const quiet = seen.connected && seen.status && performance.now() - seen.statusAt > STALE_MS;
  const text = seen.connected ? (quiet ? 'No word from the daemon for some seconds; what is shown may be old.' : '')
    : seen.everConnected ? 'Connection to the daemon lost. Pictures and figures are from before; trying again. To blank now: scancontrol blank, in a terminal.'
      : 'Not connected. Open the link that the daemon printed: it carries this session’s token.';
  byId('banner').hidden = !text;
  byId('banner').textContent = text;
  document.body.classList.toggle('stale', Boolean(text));
}

function draw() {
  scheduled = false;
  tab('truth').hidden = !seen.truth;
  if (chosen.view === 'truth' && !seen.truth) chosen.view = 'restoration';
  for (const node of document.querySelectorAll('[data-view]')) node.setAttribute('aria-selected', String(node.dataset.view === chosen.view));
  byId('overlay').setAttribute('aria-pressed', String(chosen.overlay));
  byId('lock').setAttribute('aria-pressed', String(contrast.locked));
  byId('clip').textContent = contrast.locked ? 'held' : `clip ${CLIPS[contrast.clip]} %`;
  drawBanner();
  if (seen.status) showStatus(seen.status, absence() ? null : seen.restoration, contrast.measured && [contrast.low, contrast.high]);
  controls.update(seen.status, seen.role, seen.connected);
  drawLeft();
  drawRight();
  drawReadout();
  contrast.showRestored = !absence();
  contrast.draw();
  // Only what was drawn is acknowledged, so a page that cannot keep up, or is hidden, is sent less.
  if (drawn.acks.length) link.send({ type: 'ack', seq: Math.max(...drawn.acks) });
  drawn.acks = [];
}

setInterval(drawBanner, 1000);
schedule();
