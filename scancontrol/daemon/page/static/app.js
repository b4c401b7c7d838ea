// The page: what is wired to what, and drawing it once per screen refresh. link.js brings messages, scene.js keeps what
// came, pictures.js and graph.js draw it, figures.js the numbers; controls.js and tools.js ask.

import { About } from './about.js';
import { Controls } from './controls.js';
import { logNotice, showStatus } from './figures.js';
import { Graph } from './graph.js';
import { CLIPS, Contrast } from './histogram.js';
import { BlankLine, Link, takeToken } from './link.js';
import { Panel, Viewport } from './panel.js';
import { absence, Pictures } from './pictures.js';
import { PlanEditor } from './plan_editor.js';
import { Scene } from './scene.js';
import { saveSnapshot } from './snapshot.js';
import { COMPONENTS } from './strain.js';
import { byArrows, showChosen } from './tabs.js';
import { Tools } from './tools.js';

const byId = (id) => document.getElementById(id);
const STALE_MS = 4000;

const seen = { side: 'figures', plans: '', connected: false, everConnected: false, role: null, status: null, drawnNext: null };
let scheduled = false;

const scene = new Scene();
const contrast = new Contrast(byId('histogram'), schedule);
const tools = new Tools(schedule, (region) => { if (region) show('plan'); editor.takeRegion(region); });
const viewport = new Viewport();
const panelOf = (side) => new Panel(byId(`${side}-canvas`), viewport, tools, schedule, (place) => {
  pictures.cursor = place && { place, panel: side };
  schedule();
});
const pictures = new Pictures({ left: panelOf('left'), right: panelOf('right') }, tools, () => contrast.tone());
const graph = new Graph(contrast, schedule);
const token = takeToken();
const viewTabs = byId('views');
const ask = (message) => link.ask(message);
const about = new About(ask);
const editor = new PlanEditor(ask, {
  changed: schedule, log: logNotice, start: () => controls.startEdited(),
  regionChanged(region) { tools.region = region; schedule(); },
});

const controls = new Controls((command) => link.send(command), new BlankLine(token), editor, {
  view(view) { if (!viewTabs.querySelector(`[data-view="${view}"]`).hidden) { pictures.view = view; schedule(); } },
  strain(component) {
    const all = Object.keys(COMPONENTS);
    if (component) pictures.component = component;
    else if (pictures.view === 'strain') pictures.component = all[(all.indexOf(pictures.component) + 1) % all.length];
    pictures.view = 'strain';
    schedule();
  },
  overlay() { pictures.overlay = !pictures.overlay; schedule(); },
  lock() { contrast.toggleLock(); },
  clip(by) { contrast.step(by); },
  tone(chosen) { Object.assign(contrast, chosen); byId('gamma-value').textContent = `γ ${contrast.gamma.toFixed(2)}`; schedule(); },
  edit() { show(seen.side === 'plan' ? 'figures' : 'plan'); },
  tool(kind) { tools.choose(kind); },
  clear() { tools.clear(); },
  step(by) { scene.step(by); follow(); schedule(); },
  live() { scene.live(); follow(); schedule(); },
  save(kind) {
    const name = saveSnapshot(kind, pictures, seen.status);
    logNotice(name ? `Saved ${name}.` : 'There is no picture to save.', name ? 'info' : 'warning');
  },
  zoom(factor) {
    const on = pictures.cursor?.panel === 'right' || pictures.drawn?.frequencies ? pictures.panels.right.viewport : viewport;
    if (factor) on.zoomAt(factor, ...(pictures.cursor?.place ?? [on.cy, on.cx])); else on.reset();
    schedule();
  },
});
byArrows(viewTabs);
byArrows(byId('sides'));
for (const tab of byId('sides').querySelectorAll('[role="tab"]')) tab.addEventListener('click', () => show(tab.dataset.side));
show('figures');

/** Show one of the side's panels: figures, plan or about. */
function show(side) {
  seen.side = side;
  showChosen(byId('sides'), (tab) => tab.dataset.side === side);
  for (const name of ['figures', 'plan', 'about']) byId(`side-${name}`).hidden = name !== side;
}

const link = new Link(token, {
  open() { seen.connected = true; seen.everConnected = true; if (seen.status) seen.status.arrivedAt = performance.now(); schedule(); },
  close() { seen.connected = false; seen.drawnNext = null; schedule(); },
  message(message) {
    if (message.type === 'status') seen.status = { ...message, arrivedAt: performance.now() };
    else if (message.type === 'hello') { seen.role = message.role; seen.plans = ''; scene.clear(); } // it may be another daemon than before
    else if (message.type === 'notice') logNotice(message.text, message.level, message.utc_ms);
    else if (message.type === 'refusal') logNotice(message.text, 'warning', null);
    schedule();
  },
  frame(frame) { take(frame); seen.drawnNext = frame.seq; schedule(); },
});

function take(frame) {
  scene.take(frame);
  if (scene.held !== null) return;
  if (frame.type === 'restoration') contrast.takeRestored(frame.planes);
  // A whole frame has the better statistics; until there is one, those of what has come so far.
  else if (frame.type !== 'truth' && (frame.complete || scene.complete?.series !== frame.series)) contrast.take(frame.planes.image, frame.planes.weight);
}

/** Have the contrast follow the frame on show, after stepping to another. */
function follow() {
  const { complete, restoration } = scene.shown;
  if (complete) contrast.take(complete.planes.image, complete.planes.weight);
  if (restoration) contrast.takeRestored(restoration.planes);
}

function schedule() {
  if (scheduled) return;
  scheduled = true;
  requestAnimationFrame(draw);
}

function drawBanner() {
  const quiet = seen.connected && seen.status && performance.now() - seen.status.arrivedAt > STALE_MS;
  const text = seen.connected ? (quiet ? 'No word from the daemon for some seconds; what is shown may be old.' : '')
    : seen.everConnected ? 'Connection to the daemon lost. Pictures and figures are from before; trying again. To blank now: scancontrol blank, in a terminal.'
      : 'Not connected. Open the link that the daemon printed: it carries this session’s token.';
  byId('banner').hidden = !text;
  if (byId('banner').textContent !== text) byId('banner').textContent = text;
  document.body.classList.toggle('stale', Boolean(text));
}

/** Bring buttons that change only this page into line with what is chosen. */
function drawChoices(shown) {
  viewTabs.querySelector('[data-view="truth"]').hidden = !shown.truth;
  if (pictures.view === 'truth' && !shown.truth) pictures.view = 'restoration';
  showChosen(viewTabs, (tab) => tab.dataset.view === pictures.view);
  byId('overlay').setAttribute('aria-pressed', String(pictures.overlay));
  byId('lock').setAttribute('aria-pressed', String(contrast.locked));
  byId('clip').textContent = contrast.locked ? 'held' : `clip ${CLIPS[contrast.clip]} %`;
  for (const node of document.querySelectorAll('[data-tool]')) node.setAttribute('aria-pressed', String(node.dataset.tool === tools.kind));
  for (const side of ['left', 'right']) byId(`${side}-canvas`).dataset.tool = tools.kind;
  byId('step-back').disabled = shown.held ? scene.held === 0 : scene.end < 1;
  byId('step-forward').disabled = byId('live').disabled = !shown.held;
  byId('live').textContent = shown.held ? `−${shown.held}` : 'live';
}

function draw() {
  scheduled = false;
  const { shown } = scene;
  const { status } = seen;
  const absent = absence(status, shown.restoration);
  drawChoices(shown);
  drawBanner();
  if (status) showStatus(status, absent ? null : shown.restoration, contrast.measured && [contrast.low, contrast.high]);
  controls.update(status, seen.role, seen.connected);
  about.update(status?.description, controls.operator);
  editor.update(status?.detectors ?? status?.channels ?? [], controls.operator);
  const plans = status?.plans.join('\n') ?? '';
  if (seen.connected && seen.plans !== plans) { seen.plans = plans; editor.refresh(); }
  pictures.draw(shown, status);
  contrast.showRestored = !absent;
  graph.draw(tools, absent ? { ...shown, restoration: null } : shown);
  // Only what was drawn is acknowledged, so a page that cannot keep up, or is hidden, is sent less.
  // The last that came stands for all before it: numbers count what was made, which is sent in another order.
  if (seen.drawnNext !== null) link.send({ type: 'ack', seq: seen.drawnNext });
  seen.drawnNext = null;
}

setInterval(drawBanner, 1000);
schedule();
