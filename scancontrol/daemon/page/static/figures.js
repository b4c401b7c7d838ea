// The figures beside the pictures: one status snapshot in, text out.

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

function put(id, text, kind) {
  const node = byId(id);
  if (node.textContent !== text) node.textContent = text;
  if (kind !== undefined) node.dataset.kind = kind;
}

function dose(status) {
  put('dose-frame', figure(status.dose_frame_e_per_a2));
  // SEM and FIB users think in charge: 1 e/Å² is 1.602176634 mC/cm².
  byId('dose-frame').title = status.dose_frame_e_per_a2 == null ? '' : `${figure(status.dose_frame_e_per_a2 * 1.602176634)} mC/cm²`;
  put('dose-saved', percent(status.dose_saved_fraction));
  byId('dose-saved-bar').style.width = `${Math.max(0, Math.min(1, status.dose_saved_fraction ?? 0)) * 100}%`;
  put('dose-area', withUnit(status.dose_area_e_per_a2, 'e/Å²'));
  const limit = status.dose_limit_e_per_a2;
  put('dose-limit', limit === null ? 'none' : withUnit(limit, 'e/Å²'));
  byId('dose-limit-meter').hidden = limit === null;
  const used = limit ? (status.dose_area_e_per_a2 ?? 0) / limit : 0;
  byId('dose-limit-bar').style.width = `${Math.min(1, used) * 100}%`;
  byId('dose-limit-bar').dataset.kind = used > 0.9 ? 'bad' : used > 0.7 ? 'warn' : 'good';
}

const oneIn = (share) => (share ? `1/${Number((1 / share).toPrecision(3))}` : NONE);

const RESTORER_KIND = { ready: 'good', starting: 'warn', restarting: 'bad', dead: 'bad', off: 'none' };

/** What the frame says of its own error: measured on withheld samples, carried over to every pixel. */
function expectedError(restoration, range) {
  const error = restoration?.made_by.expected_rmse;
  const share = error != null && range && range[1] > range[0] ? ` · ${Number((100 * error / (range[1] - range[0])).toPrecision(2))} %` : '';
  put('expected-error', error == null ? NONE : figure(error) + share);
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

function microscope(status) {
  const state = status.microscope;
  put('microscope-state', state.connected ? 'connected' : 'not connected', state.connected ? 'good' : 'bad');
  put('instrument', state.name ?? NONE);
  byId('instrument').title = [state.address, state.operator && `operator: ${state.operator}`].filter(Boolean).join(', ');
  const probe = [status.beam_current_pa && `${figure(status.beam_current_pa)} pA`, status.dwell_us && `${figure(status.dwell_us)} µs`];
  put('probe', probe.filter(Boolean).join(' · ') || NONE);
  const beam = !state.connected || state.blanked === null ? 'unknown' : state.blanked ? 'blanked' : 'on';
  put('beam-text', `beam ${beam}`);
  byId('beam').dataset.kind = beam;
  put('recording', status.recording ?? 'nothing', status.recording || status.phase === 'idle' ? 'none' : 'warn');
  byId('recording').title = status.recording ?? '';
  const writing = status.recording && !['idle', 'ended'].includes(status.phase);
  put('recorded-text', writing ? 'recording' : status.recording ? 'recorded' : 'not recording');
  byId('recorded').dataset.kind = writing ? 'on' : 'off';
}

/** Show one status; `restoration` is the newest one (or null) and `range` the contrast of the measured values. */
export function showStatus(status, restoration, range) {
  put('phase', status.phase + (status.phase === 'ended' && status.reason ? ` · ${status.reason.replaceAll('_', ' ')}` : ''));
  byId('phase').dataset.kind = status.phase;
  byId('phase').title = status.reason ?? '';
  dose(status);
  put('cov-nominal', oneIn(status.coverage_nominal));
  put('cov-touched', percent(status.coverage_touched));
  put('cov-dose', percent(status.coverage_dose));
  put('pattern', status.pattern ?? '');
  byId('pattern').title = status.pattern ?? '';
  put('rate', withUnit(status.frame_rate_hz, 'Hz'));
  put('beam-time', duration(status.beam_frame_time_ms));
  put('latency', status.latency_p50_ms === null ? NONE : `${duration(status.latency_p50_ms)} · ${duration(status.latency_p99_ms)}`);
  const { samples_received: received, samples_sent: sent, samples_lost: lost, samples_late: late } = status;
  put('received', received < sent ? `${count(received)} of ${count(sent)}` : count(received));
  put('lost', `${count(lost)} · ${count(late)}`, lost ? 'bad' : late ? 'warn' : 'good');
  restorer(status, restoration);
  expectedError(restoration, range);
  microscope(status);
  put('origin', 'simulated microscope');
  byId('origin').hidden = status.origin !== 'simulation';
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
