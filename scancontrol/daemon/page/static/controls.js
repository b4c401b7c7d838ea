// Buttons and keys. Each asks; what really happened comes back in the status.

import { EDITED } from './plan_editor.js';

const byId = (id) => document.getElementById(id);
const RUNNING = ['arming', 'scanning', 'paused'];

export class Controls {
  /** `send(command)`, `blankLine` the second way to blank, `editor` of plans; `act` holds what changes only this page. */
  constructor(send, blankLine, editor, act) {
    this.send = send;
    this.blankLine = blankLine;
    this.editor = editor;
    this.edited = false; // whether the editor's plan was another than those that are offered
    this.afterAbort = null; // the plan to start once what was aborted for it has ended
    this.status = null;
    this.role = null;
    this.connected = false;
    this.sent = -1; // the number of the last Start or Resume: one is given for each number that the daemon shows
    byId('go').addEventListener('click', () => this.go());
    byId('abort').addEventListener('click', () => this.abort());
    byId('blank').addEventListener('click', () => this.blank());
    byId('correct-delay').addEventListener('click', () => this.send({ type: 'correct_delay' }));
    byId('look-alone').addEventListener('click', () => this.look((look) => ({ ...look, alone: !look.alone })));
    byId('look-plain').addEventListener('click', () => this.look((look) => ({ ...look, lattice: !look.lattice })));
    byId('help-open').addEventListener('click', () => byId('help').showModal());
    const clicks = {
      overlay: act.overlay, lock: act.lock, 'clip-less': () => act.clip(-1), 'clip-more': () => act.clip(1), clear: act.clear,
      'step-back': () => act.step(-1), 'step-forward': () => act.step(1), live: act.live,
      'save-png': () => act.save('png'), 'save-tiff': () => act.save('tiff'),
    };
    for (const [id, action] of Object.entries(clicks)) byId(id).addEventListener('click', action);
    for (const tab of document.querySelectorAll('[data-view]')) tab.addEventListener('click', () => act.view(tab.dataset.view));
    for (const tool of document.querySelectorAll('[data-tool]')) tool.addEventListener('click', () => act.tool(tool.dataset.tool));
    byId('plan').addEventListener('change', () => { if (!editor.edited) editor.load(byId('plan').value); });
    byId('channel').addEventListener('change', () => this.showChannels(byId('channel').value, byId('beside').value));
    byId('beside').addEventListener('change', () => this.showChannels(byId('channel').value, byId('beside').value));
    byId('strain-component').addEventListener('change', () => act.strain(byId('strain-component').value));
    byId('map').addEventListener('change', () => act.tone({ map: byId('map').value }));
    byId('gamma').addEventListener('input', () => act.tone({ gamma: 2 ** Number(byId('gamma').value) }));
    this.keys = {
      ' ': () => this.go(), Escape: () => this.abort(), b: () => this.blank(), r: () => this.record(),
      o: act.overlay, l: act.lock, '[': () => act.clip(-1), ']': () => act.clip(1),
      '+': () => act.zoom(1.5), '=': () => act.zoom(1.5), '-': () => act.zoom(1 / 1.5), 0: () => act.zoom(0),
      1: () => act.view('restoration'), 2: () => act.view('interval'), 3: () => act.view('difference'), 4: () => act.view('truth'),
      f: () => act.view('fourier'), x: () => act.strain(), m: () => act.tool('line'), a: () => act.tool('region'), delete: act.clear,
      e: act.edit, d: () => this.nextChannel(), k: () => byId('look-alone').click(), n: () => byId('look-plain').click(),
      ',': () => act.step(-1), '.': () => act.step(1), s: (shift) => act.save(shift ? 'tiff' : 'png'),
      '?': () => byId('help').showModal(),
    };
    document.addEventListener('keydown', (event) => this.pressed(event));
    // A button that has the focus would be clicked again when Space is let go.
    document.addEventListener('keyup', (event) => { if (event.key === ' ' && !this.ownsSpace(event.target)) event.preventDefault(); });
  }

  /** Whether a letter typed there is text. */
  writes(target) {
    return target instanceof HTMLElement
      && target.closest('textarea, input:not([type="range"], [type="checkbox"], [type="radio"]), [contenteditable]') !== null;
  }

  /** Whether Space is for what has the focus: whoever walks by keyboard presses with it what the ring is around. */
  ownsSpace(target) {
    if (!(target instanceof HTMLElement)) return false;
    if (target.closest('select, input, textarea, dialog, summary')) return true;
    return target.id !== 'go' && target.matches('button:focus-visible');
  }

  pressed(event) {
    if (event.ctrlKey || event.metaKey || event.altKey || event.defaultPrevented) return;
    const { target } = event;
    if (this.writes(target)) {
      // No key is an order while it is text. Esc leaves the field, and aborts nothing.
      if (event.key === 'Escape' && !target.closest('dialog')) { event.preventDefault(); target.blur(); }
      return;
    }
    const key = event.key.length === 1 ? event.key.toLowerCase() : event.key === 'Delete' ? 'delete' : event.key;
    // The beam must be blanked from wherever no text is typed; everything else leaves menus and the help alone.
    if (key !== 'b' && target instanceof HTMLElement && target.closest('select, input, dialog')) return;
    if (key === ' ' && this.ownsSpace(target)) return;
    const action = this.keys[key];
    if (!action || (event.repeat && !'+-=[],.'.includes(key))) { if (key === ' ') event.preventDefault(); return; }
    event.preventDefault();
    action(event.shiftKey);
  }

  get operator() { return this.connected && this.role === 'operator' && this.status !== null; }

  /** The plan that a Start would take: a name that is offered, or the edited plan itself. */
  get plan() { return byId('plan').value === EDITED ? this.editor.plan : byId('plan').value; }

  go() {
    if (byId('go').disabled) return;
    const { scan, orders } = this.status;
    if (scan.phase === 'scanning' || scan.phase === 'arming') { this.send({ type: 'pause' }); return; }
    // Greyed at once, and not when the daemon has said so: the second of two clicks asks for nothing.
    this.sent = orders.number;
    byId('go').disabled = true;
    if (scan.phase === 'paused') this.send({ type: 'resume', number: orders.number });
    else this.send({ type: 'start', plan: this.plan, number: orders.number });
  }

  /** Start the edited plan; what runs is aborted first, and the Start given once it has ended. */
  startEdited() {
    if (byId('plan-start').disabled) return;
    const { orders } = this.status;
    byId('plan').value = EDITED;
    if (!orders.start) { this.sent = orders.number; this.send({ type: 'start', plan: this.editor.plan, number: orders.number }); return; }
    // Whatever else is ordered before it has ended, here or elsewhere, takes this back.
    this.afterAbort = { number: orders.number + 1, plan: this.editor.plan };
    this.send({ type: 'abort' });
  }

  followAbort() {
    const { afterAbort: waits, status } = this;
    if (!waits || !this.operator || status.orders.number < waits.number) return;
    if (status.orders.number > waits.number || status.orders.blank !== 'off') { this.afterAbort = null; return; }
    if (status.orders.start) return;
    this.afterAbort = null;
    this.sent = waits.number;
    this.send({ type: 'start', plan: waits.plan, number: waits.number });
  }

  nextChannel() {
    const { channels = [], channel } = this.status ?? {};
    if (!this.operator || channels.length < 2) return;
    const next = channels[(channels.indexOf(channel) + 1) % channels.length];
    // Of two that are shown beside each other the two change places.
    this.showChannels(next, next === this.status.beside ? channel : this.status.beside);
  }

  showChannels(channel, beside) {
    this.send({ type: 'show_channel', channel, ...(beside && beside !== channel ? { beside } : {}) });
  }

  /** Ask that the newest frame be shown another way; what is stored stays as it is. */
  look(change) { if (this.operator) this.send({ type: 'look_at', look: change(this.status.restorer.look) }); }

  abort() { if (!byId('abort').disabled) this.send({ type: 'abort' }); }

  record() { if (this.operator) this.send({ type: 'record', on: !this.status.scan.recording }); }

  /** Over both connections: the first that arrives counts, and a second Blank takes nothing back. */
  blank() {
    if (byId('blank').disabled) return;
    this.send({ type: 'emergency_blank' });
    this.blankLine.blank();
  }

  /** Bring buttons and the list of plans into line with what is known. */
  update(status, role, connected) {
    [this.status, this.role, this.connected] = [status, role, connected];
    const phase = status?.scan.phase;
    const running = RUNNING.includes(phase);
    const busy = Boolean(status?.orders.start); // an acquisition has the beam, or is about to
    this.offer(status, running);
    const claimed = status?.claimed_by ?? null; // a script alone may start, for as long as it lives
    byId('claim').hidden = claimed === null;
    byId('claim').textContent = claimed === null ? '' : `a script of ${claimed} starts`;
    const reachable = this.operator && status.microscope.connected && status.orders.blank !== 'asked';
    byId('go-text').textContent = phase === 'paused' ? 'Resume' : running ? 'Pause' : 'Start';
    if (running && phase !== 'paused') byId('go').disabled = !reachable;
    else byId('go').disabled = !reachable || phase === 'aborting' || this.sent === status.orders.number || (!running && (busy || claimed || !byId('plan').value));
    const checked = this.editor.checked?.type === 'plan_checked';
    byId('plan-start').disabled = !reachable || !checked || claimed !== null || phase === 'aborting' || this.afterAbort !== null || this.sent === status.orders.number;
    byId('plan-start').textContent = this.afterAbort ? 'Starts once the other has ended' : busy ? 'Abort and start this plan' : 'Start this plan';
    this.followAbort();
    const look = status?.restorer.look;
    byId('look-alone').setAttribute('aria-pressed', String(look?.alone ?? false));
    byId('look-plain').setAttribute('aria-pressed', String(look ? !look.lattice : false));
    for (const id of ['look-alone', 'look-plain']) byId(id).disabled = !this.operator || status.restorer.state === 'off';
    // Abort always wins: it is there for whatever runs, waits, is armed or is gone on with.
    byId('abort').disabled = !this.operator || !busy;
    byId('blank').disabled = !connected && !this.blankLine.open;
    for (const id of ['plan-label', 'acquisition']) byId(id).hidden = role === 'observer';
    byId('role').hidden = role !== 'observer';
  }

  /** The list of plans, with the edited one on top, and that of detectors. */
  offer(status, running) {
    const plan = byId('plan');
    const edited = this.editor.edited;
    // What was saved a moment ago is offered before the next status says so.
    const plans = [...new Set([...(status?.plans ?? []), ...this.editor.offered.map((one) => one.plan.name)])];
    const names = [edited ? this.editor.plan.name : '', ...plans].join('\n');
    if (plan.dataset.names !== names) {
      const before = plan.value;
      plan.dataset.names = names;
      plan.replaceChildren(...(edited ? [new Option(`${EDITED} ${this.editor.plan.name}`, EDITED)] : []), ...plans.map((name) => new Option(name, name)));
      // What was just edited is what one means to start.
      const chosen = edited && !this.edited ? EDITED : before === EDITED && !edited ? this.editor.base?.name : before;
      plan.value = plans.includes(chosen) || (chosen === EDITED && edited) ? chosen : status?.plan?.plan ?? plans[0] ?? '';
      if (plan.selectedIndex < 0) plan.value = plans[0] ?? '';
    }
    this.edited = edited;
    const runs = running && status.plan ? status.plan.plan : null;
    if (runs !== null && document.activeElement !== plan) plan.value = plans.includes(runs) ? runs : edited ? EDITED : plan.value;
    plan.disabled = !this.operator || running;
    const channels = status?.channels ?? [];
    for (const [id, first, chosen] of [['channel', [], status?.channel ?? channels[0] ?? ''], ['beside', [new Option('none', '')], status?.beside ?? '']]) {
      byId(`${id}-label`).hidden = channels.length < 2;
      const select = byId(id);
      if (select.dataset.names !== channels.join('\n')) {
        select.dataset.names = channels.join('\n');
        select.replaceChildren(...first, ...channels.map((name) => new Option(name, name)));
      }
      if (document.activeElement !== select) select.value = chosen;
      select.disabled = !this.operator;
    }
  }
}
