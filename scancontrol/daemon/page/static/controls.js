// Buttons and keys. Each asks; what really happened comes back in the status.

const byId = (id) => document.getElementById(id);
const RUNNING = ['arming', 'scanning', 'paused'];

export class Controls {
  /** `send(command)`; `act` holds what changes only this page: view, overlay, clip, lock, zoom. */
  constructor(send, act) {
    this.send = send;
    this.status = null;
    this.role = null;
    this.connected = false;
    byId('go').addEventListener('click', () => this.go());
    byId('abort').addEventListener('click', () => this.abort());
    byId('blank').addEventListener('click', () => this.blank());
    byId('help-open').addEventListener('click', () => byId('help').showModal());
    byId('overlay').addEventListener('click', act.overlay);
    byId('lock').addEventListener('click', act.lock);
    byId('clip-less').addEventListener('click', () => act.clip(-1));
    byId('clip-more').addEventListener('click', () => act.clip(1));
    for (const tab of document.querySelectorAll('[data-view]')) tab.addEventListener('click', () => act.view(tab.dataset.view));
    const views = ['restoration', 'interval', 'difference', 'truth'];
    this.keys = {
      ' ': () => this.go(), Escape: () => this.abort(), b: () => this.blank(), r: () => this.record(),
      o: act.overlay, l: act.lock, '[': () => act.clip(-1), ']': () => act.clip(1),
      '+': () => act.zoom(1.5), '=': () => act.zoom(1.5), '-': () => act.zoom(1 / 1.5), 0: () => act.zoom(0),
      '?': () => byId('help').showModal(),
      ...Object.fromEntries(views.map((view, i) => [String(i + 1), () => act.view(view)])),
    };
    document.addEventListener('keydown', (event) => this.pressed(event));
    // A button that has the focus would be clicked again when Space is let go.
    document.addEventListener('keyup', (event) => { if (event.key === ' ' && !this.typing(event)) event.preventDefault(); });
  }

  typing(event) {
    return event.target instanceof HTMLElement && event.target.closest('select, input, textarea, dialog') !== null;
  }

  pressed(event) {
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    const key = event.key.length === 1 ? event.key.toLowerCase() : event.key;
    // The beam must be blanked from wherever the focus is; everything else leaves menus and the help alone.
    if (key !== 'b' && this.typing(event)) return;
    const action = this.keys[key];
    if (!action || (event.repeat && !'+-=[]'.includes(key))) { if (key === ' ') event.preventDefault(); return; }
    event.preventDefault();
    action();
  }

  get operator() { return this.connected && this.role === 'operator' && this.status !== null; }

  go() {
    if (byId('go').disabled) return;
    if (this.status.phase === 'scanning' || this.status.phase === 'arming') this.send({ type: 'pause' });
    else if (this.status.phase === 'paused') this.send({ type: 'resume' });
    else this.send({ type: 'start', plan: byId('plan').value });
  }

  abort() { if (!byId('abort').disabled) this.send({ type: 'abort' }); }

  record() { if (this.operator) this.send({ type: 'record', on: !this.status.recording }); }

  blank() { if (!byId('blank').disabled) this.send({ type: 'emergency_blank' }); }

  /** Bring buttons and the list of plans into line with what is known. */
  update(status, role, connected) {
    [this.status, this.role, this.connected] = [status, role, connected];
    const phase = status?.phase;
    const running = RUNNING.includes(phase);
    const plan = byId('plan');
    const names = (status?.plans ?? []).join('\n');
    if (plan.dataset.names !== names) {
      const before = plan.value;
      plan.dataset.names = names;
      const plans = status?.plans ?? [];
      plan.replaceChildren(...plans.map((name) => new Option(name, name)));
      plan.value = plans.includes(before) ? before : status?.plan ?? plans[0] ?? '';
    }
    if (running && status.plan && document.activeElement !== plan) plan.value = status.plan;
    plan.disabled = !this.operator || running;
    const reachable = this.operator && status.microscope.connected;
    byId('go-text').textContent = phase === 'paused' ? 'Resume' : running ? 'Pause' : 'Start';
    byId('go').disabled = !reachable || phase === 'aborting' || (!running && !plan.value);
    byId('abort').disabled = !this.operator || !running;
    byId('blank').disabled = !connected;
    for (const id of ['plan-label', 'acquisition']) byId(id).hidden = role === 'observer';
    byId('role').hidden = role !== 'observer';
  }
}
