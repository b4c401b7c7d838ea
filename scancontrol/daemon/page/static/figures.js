// The figures beside the pictures: one status snapshot in, text out.

import { showDrift } from './drift.js';

const byId = (id) => document.getElementById(id);
const NONE = '–';

/** A number with three significant figures and thin-spaced thousands. */
export function figure(value, digits = 3) {
  if (value === null || value === undefined || !Number.isFinite(value)) return NONE;
  if (value !== 0 && (Math.abs(value) >= 1e7 || Math.abs(value) < 1e-3)) return value.toExponential(digits - 1).replace('e+', 'e');
  const rounded = Math.abs(value) >= 10 ** digits ? Math.round(value) : Number(value.toPrecision(digits));
  const [whole, part] = String(rounded).split('.');
  return whole.replace(/\B(?=(\d{3})+$)/g, '\u2009') + (part ? `.${part}` : '');
}

const count = (value) => String(value).replace(/\B(?=(\d{3})+$)/g, '\u2009');
const percent = (share, digits = 3) => (share === null || share === undefined ? NONE : `${Number((share * 100).toPrecision(digits))} %`);
const withUnit = (value, unit) => (value === null || value === undefined ? NONE : `${figure(value)} ${unit}`);

/** Milliseconds, or seconds once there are many. */
export function duration(ms) {
  if (ms === null || ms === undefined) return NONE;
  return ms >= 1000 ? `${figure(ms / 1000)} s` : `${figure(ms)} ms`;
}

/** A number of bytes with the unit in which it has at most three digits before its point. */
export function bytes(count) {
  const units = ['B', 'kB', 'MB', 'GB', 'TB'];
  const at = count < 1 ? 0 : Math.min(units.length - 1, Math.floor(Math.log10(count) / 3 + 1e-9));
  return `${figure(count / 1000 ** at)} ${units[at]}`;
}

function put(id, text, kind) {
  const node = byId(id);
  if (node.textContent !== text) node.textContent = text;
  if (kind !== undefined) node.dataset.kind = kind;
}

function dose({ plan, dose: had }) {
  const frame = plan?.worst_area_frame_e_per_a2 ?? null;
  put('dose-frame', figure(frame));
  // SEM and FIB users think in charge: 1 e/Å² is 1.602176634 mC/cm².
  byId('dose-frame').title = frame == null ? '' : `${figure(frame * 1.602176634)} mC/cm²`;
  const saved = plan ? 1 - plan.coverage_dose : null;
  put('dose-saved', percent(saved));
  byId('dose-saved-bar').style.width = `${Math.max(0, Math.min(1, saved ?? 0)) * 100}%`;
  put('dose-area', withUnit(had.area_e_per_a2, 'e/Å²'));
  const limits = [had.area_limit_e_per_a2, plan?.dose_limit_e_per_a2].filter((value) => value != null);
  const limit = limits.length ? Math.min(...limits) : null;
  put('dose-limit', limit === null ? 'none' : withUnit(limit, 'e/Å²'));
  byId('dose-limit-meter').hidden = limit === null;
  const used = limit ? (had.area_e_per_a2 ?? 0) / limit : 0;
  byId('dose-limit-bar').style.width = `${Math.min(1, used) * 100}%`;
  byId('dose-limit-bar').dataset.kind = used > 0.9 ? 'bad' : used > 0.7 ? 'warn' : 'good';
}

const oneIn = (share) => (share ? `1/${Number((1 / share).toPrecision(3))}` : NONE);

const LONG_ARMING_MS = 700; // until then nobody asks what it is at
let armedSince = null;

const RESTORER_KIND = { ready: 'good', starting: 'warn', restarting: 'bad', dead: 'bad', off: 'none' };

/** What the frame says of its own error: measured on withheld samples, carried over to every pixel. */
function expectedError(restoration, range) {
  const error = restoration?.made_by.expected_rmse;
  const share = error != null && range && range[1] > range[0] ? ` · ${Number((100 * error / (range[1] - range[0])).toPrecision(2))} %` : '';
  put('expected-error', error == null ? NONE : figure(error) + share);
  const { delay_samples: late, delay_sd_samples: sd } = restoration?.made_by ?? {};
  byId('delay-row').hidden = late == null;
  if (late != null) put('delay', `${late.toFixed(1)} ± ${sd.toFixed(1)} samples`, 'warn');
  const measured = restoration?.made_by.withheld_rmse == null ? '' : ` (${figure(restoration.made_by.withheld_rmse)} there)`;
  byId('expected-error').title = `root-mean-square error to expect of the frame: measured on samples that the restorer was not given${measured}, carried over to every pixel by its interval; in sample units, and as a share of the contrast window`;
}

function restorer(status, restoration) {
  const state = status.restorer;
  const restarts = state.restarts ? ` · ${state.restarts} restart${state.restarts > 1 ? 's' : ''}` : '';
  put('restorer-state', state.state + restarts, RESTORER_KIND[state.state]);
  const method = status.method ?? restoration?.made_by.method;
  const face = status.face ?? restoration?.made_by.face;
  put('method', method ?? NONE);
  put('face', [face, state.device].filter(Boolean).join(' · ') || NONE);
  put('queue', `${count(state.queue)} · ${count(state.dropped)}`);
}

/** What the lamp says: whether the beam is on, as far as anybody knows, and whether a Blank was confirmed. */
function lamp({ microscope: seen, orders }) {
  if (orders.blank === 'asked') return ['unconfirmed', 'blank asked for, not confirmed'];
  if (!seen.connected || !seen.status) return ['unknown', 'beam unknown'];
  if (seen.status.beam_on) return ['on', 'beam on'];
  return ['blanked', orders.blank === 'confirmed' ? 'beam blanked, held' : 'beam blanked'];
}

function microscope(status) {
  const { microscope: state, plan, scan } = status;
  put('microscope-state', state.connected ? 'connected' : 'not connected', state.connected ? 'good' : 'bad');
  put('instrument', state.name ?? NONE);
  const operator = state.status?.operator;
  byId('instrument').title = [state.address, operator && `operator: ${operator}`].filter(Boolean).join(', ');
  const probe = [plan && `${figure(plan.beam_current_pa)} pA`, plan && `${figure(plan.dwell_us)} µs`];
  put('probe', probe.filter(Boolean).join(' · ') || NONE);
  const [kind, text] = lamp(status);
  put('beam-text', text);
  byId('beam').dataset.kind = kind;
  put('recording', scan.recording ?? 'nothing', scan.recording || scan.phase === 'idle' ? 'none' : 'warn');
  byId('recording').title = scan.recording ?? '';
  const writing = scan.recording && !['idle', 'ended'].includes(scan.phase);
  put('recorded-text', writing ? 'recording' : scan.recording ? 'recorded' : 'not recording');
  byId('recorded').dataset.kind = writing ? 'on' : 'off';
}

/** Where the acquisition is: [kind, one or two words, the whole sentence]. */
export function phaseOf({ scan, orders, restorer, microscope: seen }) {
  if (orders.aborting) return ['aborting', seen.unfinished ? 'abort asked for, not confirmed' : 'aborting', scan.explanation || scan.message];
  if (orders.start && !orders.begun) return ['arming', 'waiting', `${orders.start} begins once the microscope answers`];
  if (seen.unfinished) return ['paused', 'interrupted', `${seen.unfinished}: ${scan.explanation}`];
  const made = seen.arming ? `: ${seen.arming}` : '';
  if (orders.start && ['idle', 'ended'].includes(scan.phase)) return ['arming', 'arming', `${orders.start} is being armed${made}`];
  if (scan.phase !== 'ended') return [scan.phase, scan.phase, scan.message];
  const left = restorer.catching_up ? ` · restoring ${restorer.catching_up}` : '';
  return ['ended', `ended · ${(scan.finish_reason ?? '').replaceAll('_', ' ')}${left}`, scan.explanation];
}

/** Show one status; `restoration` is the newest one (or null) and `range` the contrast of the measured values. */
export function showStatus(status, restoration, range) {
  const [kind, words, sentence] = phaseOf(status);
  put('phase', words);
  byId('phase').dataset.kind = kind;
  byId('phase').title = sentence;
  armedSince = kind === 'arming' ? armedSince ?? performance.now() : null;
  const long = armedSince !== null && performance.now() - armedSince > LONG_ARMING_MS;
  put('why', long || kind === 'paused' || (kind === 'ended' && status.scan.finish_reason !== 'completed') ? sentence : '');
  byId('why').hidden = byId('why').textContent === '';
  const { scan, plan } = status;
  dose(status);
  put('cov-nominal', oneIn(plan?.coverage_nominal));
  put('cov-touched', percent(plan?.coverage_touched));
  put('cov-dose', percent(plan?.coverage_dose));
  put('pattern', plan?.pattern ?? '');
  byId('pattern').title = plan?.pattern ?? '';
  put('rate', withUnit(scan.frame_rate_hz || null, 'Hz'));
  put('beam-time', duration(plan?.beam_frame_time_ms));
  const { latency_p50_ms: p50, latency_p99_ms: p99 } = status.restorer;
  put('latency', p50 === null ? NONE : `${duration(p50)} · ${duration(p99)}`);
  const { samples_received: received, samples_exposed: sent, samples_lost: lost } = scan;
  const late = scan.samples_duplicate + scan.chunks_out_of_turn;
  put('received', received < sent ? `${count(received)} of ${count(sent)}` : count(received));
  put('lost', `${count(lost)} · ${count(late)}`, lost ? 'bad' : late ? 'warn' : 'good');
  restorer(status, restoration);
  expectedError(restoration, range);
  showDrift(status.drift);
  microscope(status);
  put('origin', 'simulated microscope');
  byId('origin').hidden = status.microscope.origin !== 'simulation';
  const list = byId('warnings');
  list.hidden = status.warnings.length === 0;
  const text = status.warnings.join('\n');
  if (list.dataset.text !== text) {
    list.dataset.text = text;
    list.replaceChildren(...status.warnings.map((warning) => Object.assign(document.createElement('li'), { textContent: warning })));
  }
}

const KEPT = 40;

/** Add one line to the message log. */
export function logNotice(text, level, utcMs) {
  const time = new Date(utcMs ?? Date.now()).toLocaleTimeString('en-GB');
  const item = document.createElement('li');
  item.dataset.kind = level;
  item.append(Object.assign(document.createElement('time'), { textContent: time }), text);
  const list = byId('log');
  list.prepend(item);
  while (list.children.length > KEPT) list.lastChild.remove();
}
