// Buttons and keys. Each asks; what really happened comes back in the status.

const byId = (id) => document.getElementById(id);
const RUNNING = ['arming', 'scanning', 'paused'];

export class Controls {
  /** `send(command)`, `blankLine` the second way to blank; `act` holds what changes only this page. */
  constructor(send, blankLine, act) {
    this.send = send;
    this.blankLine = blankLine;
    this.status = null;
    this.role = null;
    this.connected = false;
    this.sent = -1; // the number of the last Start or Resume: one is given for each number that the daemon shows
    byId('go').addEventListener('click', () => this.go());
    byId('abort').addEventListener('click', () => this.abort());
    byId('blank').addEventListener('click', () => this.blank());
    byId('help-open').addEventListener('click', () => byId('help').showModal());
    const clicks = {
      overlay: act.overlay, lock: act.lock, 'clip-less': () => act.clip(-1), 'clip-more': () => act.clip(1), clear: act.clear,
      'step-back': () => act.step(-1), 'step-forward': () => act.step(1), live: act.live,
      'save-png': () => act.save('png'), 'save-tiff': () => act.save('tiff'),
    };
    for (const [id, action] of Object.entries(clicks)) byId(id).addEventListener('click', action);
    for (const tab of document.querySelectorAll('[data-view]')) tab.addEventListener('click', () => act.view(tab.dataset.view));
    for (const tool of document.querySelectorAll('[data-tool]')) tool.addEventListener('click', () => act.tool(tool.dataset.tool));
    byId('map').addEventListener('change', () => act.tone({ map: byId('map').value }));
    byId('gamma').addEventListener('input', () => act.tone({ gamma: 2 ** Number(byId('gamma').value) }));
    this.keys = {
      ' ': () => this.go(), Escape: () => this.abort(), b: () => this.blank(), r: () => this.record(),
      o: act.overlay, l: act.lock, '[': () => act.clip(-1), ']': () => act.clip(1),
      '+': () => act.zoom(1.5), '=': () => act.zoom(1.5), '-': () => act.zoom(1 / 1.5), 0: () => act.zoom(0),
      1: () => act.view('restoration'), 2: () => act.view('interval'), 3: () => act.view('difference'), 4: () => act.view('truth'),
      f: () => act.view('fourier'), m: () => act.tool('line'), delete: act.clear,
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

  go() {
    if (byId('go').disabled) return;
    const { scan, orders } = this.status;
    if (scan.phase === 'scanning' || scan.phase === 'arming') { this.send({ type: 'pause' }); return; }
    // Greyed at once, and not when the daemon has said so: the second of two clicks asks for nothing.
    this.sent = orders.number;
    byId('go').disabled = true;
    if (scan.phase === 'paused') this.send({ type: 'resume', number: orders.number });
    else this.send({ type: 'start', plan: byId('plan').value, number: orders.number });
  }

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
    const plan = byId('plan');
    const names = (status?.plans ?? []).join('\n');
    if (plan.dataset.names !== names) {
      const before = plan.value;
      plan.dataset.names = names;
      const plans = status?.plans ?? [];
      plan.replaceChildren(...plans.map((name) => new Option(name, name)));
      plan.value = plans.includes(before) ? before : status?.plan?.plan ?? plans[0] ?? '';
    }
    if (running && status.plan && document.activeElement !== plan) plan.value = status.plan.plan;
    plan.disabled = !this.operator || running;
    const reachable = this.operator && status.microscope.connected && status.orders.blank !== 'asked';
    byId('go-text').textContent = phase === 'paused' ? 'Resume' : running ? 'Pause' : 'Start';
    if (running && phase !== 'paused') byId('go').disabled = !reachable;
    else byId('go').disabled = !reachable || phase === 'aborting' || this.sent === status.orders.number || (!running && (busy || !plan.value));
    // Abort always wins: it is there for whatever runs, waits, is armed or is gone on with.
    byId('abort').disabled = !this.operator || !busy;
    byId('blank').disabled = !connected && !this.blankLine.open;
    for (const id of ['plan-label', 'acquisition']) byId(id).hidden = role === 'observer';
    byId('role').hidden = role !== 'observer';
  }
}
