// The plan editor: a plan that is offered, changed in a form, checked by the daemon as one types; presets; a region and back.

import { lengthText } from './colour.js';
import { bytes, duration, figure } from './figures.js';
import { fieldOf, fieldsOf, KINDS, oddField, planOf, samePlan, WHOLE } from './plan_fields.js';

const byId = (id) => document.getElementById(id);
const INPUTS = ['name', 'kind', 'one_in', 'by', 'fov_nm', 'rows', 'cols', 'dwell_us', 'frames', 'interval_s'];
const REGION = ['y', 'x', 'height', 'width', 'rotation_deg'];
const SETTLES_MS = 120;
const REGION_COVERAGE = '10'; // one in so many, until the operator says another
export const EDITED = '\u270e'; // stands for the edited plan where plans are named

const input = (name) => byId(`plan-${name}`);
const percent = (share) => `${Number((100 * share).toPrecision(3))} %`;

export class PlanEditor {
  /** `ask(message)` resolves to the daemon's answer; `regionChanged(region)` when the form's region changed; `changed()`. */
  constructor(ask, { regionChanged, changed, log, start }) {
    Object.assign(this, { ask, regionChanged, changed, log, offered: [], base: null, fields: null, survey: null, timer: 0 });
    this.checked = null; // the daemon's answer to what the form shows
    this.before = null; // and to the plan that it began with
    this.asking = false;
    this.regionOneIn = REGION_COVERAGE;
    this.detectors = '';
    byId('plan-base').addEventListener('change', () => this.load(byId('plan-base').value));
    byId('side-plan').addEventListener('input', (event) => { if (event.target.id !== 'plan-base') this.typed(event.target); });
    byId('side-plan').addEventListener('submit', (event) => { event.preventDefault(); start(); });
    byId('plan-save').addEventListener('click', () => this.save());
    byId('plan-delete').addEventListener('click', () => this.remove());
    byId('plan-whole').addEventListener('click', () => this.back());
    input('kind').replaceChildren(...Object.entries(KINDS).map(([kind, [words]]) => new Option(words, kind)));
  }

  /** The plan as the form has it; where a field holds no number, with NaN in its place. */
  get plan() { return this.base && planOf(this.base, this.fields); }

  /** Whether it is another than the one that it began with. */
  get edited() { return Boolean(this.base) && !samePlan(this.plan, this.base); }

  /** Ask for what is offered, and keep what is being edited. */
  async refresh() {
    const answer = await this.ask({ type: 'list_plans' });
    if (answer.type !== 'plans') return;
    this.offered = answer.plans;
    const select = byId('plan-base');
    const chosen = select.value;
    select.replaceChildren(...this.offered.map(({ plan, preset }) => new Option(preset ? `${plan.name} (saved)` : plan.name, plan.name)));
    if (!this.base && this.offered.length) this.load(this.offered[0].plan.name);
    else select.value = this.offered.some(({ plan }) => plan.name === chosen) ? chosen : '';
    this.check();
  }

  load(name) {
    const found = this.offered.find(({ plan }) => plan.name === name);
    if (!found) return;
    Object.assign(this, { base: found.plan, fields: fieldsOf(found.plan), survey: null, before: null });
    byId('plan-base').value = name;
    this.show();
    this.regionChanged(this.region);
    this.check();
  }

  /** The form's region, or null for the whole field. */
  get region() {
    const { region } = this.fields ?? {};
    return !region || REGION.every((name) => region[name] === WHOLE[name]) ? null : region;
  }

  /** A region was drawn on the picture (or taken away): the form takes it, with a coverage of its own. */
  takeRegion(region) {
    if (!this.fields || JSON.stringify(region) === JSON.stringify(this.region)) return;
    if (!region) { this.back(); return; }
    if (!this.survey) {
      this.survey = { ...this.fields };
      Object.assign(this.fields, { one_in: this.regionOneIn, name: `${this.fields.name.replace(/ region$/, '')} region` });
    }
    this.fields.region = { ...region };
    this.show();
    this.check();
  }

  /** Back to the whole field, and to the survey that the region was picked in. */
  back() {
    if (!this.fields) return;
    const region = { ...WHOLE };
    this.fields = this.survey ? { ...this.survey, region } : { ...this.fields, region };
    this.survey = null;
    this.show();
    this.regionChanged(null);
    this.check();
  }

  typed(node) {
    if (!this.fields) return;
    for (const name of INPUTS) this.fields[name] = input(name).value;
    if (this.survey) this.regionOneIn = this.fields.one_in;
    this.fields.detectors = [...byId('plan-detectors').querySelectorAll('input:checked')].map((box) => box.value);
    if (byId('plan-detectors').querySelector('input:not(:checked)') === null) this.fields.detectors = [];
    const numbers = Object.fromEntries(REGION.map((name) => [name, Number(input(name).value)]));
    if (REGION.some((name) => node === input(name)) && Object.values(numbers).every(Number.isFinite)) {
      this.fields.region = numbers;
      this.regionChanged(this.region);
    }
    this.showRegion();
    this.check();
  }

  /** Have the daemon check what the form shows, once typing rests; never more than one question at a time. */
  check() {
    clearTimeout(this.timer);
    this.timer = setTimeout(() => this.checkNow(), SETTLES_MS);
    this.changed();
  }

  async checkNow() {
    if (this.asking || !this.base || byId('plan-fields').disabled) return; // who only watches asks nothing
    const odd = oddField(this.fields);
    const asked = this.plan;
    if (!odd) {
      this.asking = true;
      if (!this.before) this.before = await this.ask({ type: 'check_plan', plan: this.base });
      this.checked = samePlan(asked, this.base) ? this.before : await this.ask({ type: 'check_plan', plan: asked });
      this.asking = false;
    } else this.checked = odd;
    this.showCost();
    this.changed();
    if (!odd && !samePlan(asked, this.plan)) this.checkNow();
  }

  async save() {
    const button = byId('plan-save');
    const answer = await this.ask({ type: 'save_preset', plan: this.plan, replace: button.dataset.replace === this.fields.name });
    const taken = answer.type === 'refusal' && answer.limit === 'is taken';
    button.dataset.replace = taken ? this.fields.name : '';
    button.textContent = taken ? 'Replace' : 'Save';
    if (answer.type === 'refusal') { this.refused(answer); return; }
    this.log(`Saved the plan ${this.fields.name}.`, 'info');
    const { name } = this.fields;
    await this.refresh();
    this.load(name);
  }

  async remove() {
    const { name } = this.base;
    const answer = await this.ask({ type: 'delete_preset', name });
    if (answer.type === 'refusal') { this.refused(answer); return; }
    this.log(`Deleted the plan ${name}.`, 'info');
    this.base = null;
    await this.refresh();
  }

  /** Which detectors there are to choose of. */
  update(detectors, operator) {
    byId('plan-fields').disabled = !operator;
    const key = detectors.join('\n');
    if (key === this.detectors) return;
    this.detectors = key;
    byId('plan-detectors').replaceChildren(...detectors.map((name) => {
      const label = document.createElement('label');
      label.append(Object.assign(document.createElement('input'), { type: 'checkbox', value: name }), ` ${name}`);
      return label;
    }));
    this.show();
  }

  show() {
    const { fields } = this;
    if (!fields) return;
    for (const name of INPUTS) if (input(name).value !== fields[name]) input(name).value = fields[name];
    if (!KINDS[fields.kind]) { // as it is, and not one that is made here
      const words = this.base.patterns.length > 1 ? `${this.base.patterns.length} patterns in turn` : fields.kind;
      if (![...input('kind').options].some((option) => option.value === fields.kind)) input('kind').prepend(new Option(words, fields.kind));
      input('kind').value = fields.kind;
    }
    for (const name of REGION) input(name).value = Number(fields.region[name].toFixed(4));
    for (const box of byId('plan-detectors').querySelectorAll('input')) box.checked = !fields.detectors.length || fields.detectors.includes(box.value);
    byId('plan-delete').hidden = !this.offered.find(({ plan }) => plan.name === this.base.name)?.preset;
    this.showRegion();
  }

  showRegion() {
    const { fields } = this;
    byId('plan-whole').disabled = !this.region;
    byId('plan-whole').textContent = this.survey ? `Back to ${this.survey.name}` : 'Whole field';
    const size = this.region && [Number(fields.fov_nm) * this.region.width, (Number(fields.fov_nm) * this.region.height * Number(fields.rows)) / Number(fields.cols)];
    byId('plan-region-size').textContent = size?.every((nm) => nm > 0) ? `${lengthText(size[0])} × ${lengthText(size[1])}` : '';
  }

  /** What the plan comes to, beside what it was before the change; or why it cannot be. */
  showCost() {
    const { checked, before } = this;
    if (checked?.type !== 'plan_checked') { this.refused(checked); return; }
    this.refused(null);
    const times = (now, then) => (before?.type === 'plan_checked' && then > 0 && Math.abs(now / then - 1) > 5e-4 ? `×${Number((now / then).toPrecision(3))}` : '');
    const [first] = checked.patterns;
    const put = (id, text) => { byId(id).textContent = text; };
    put('cost-frame', figure(first.worst_area_e_per_a2));
    put('cost-total', figure(checked.worst_area_e_per_a2));
    put('dose-change', times(checked.worst_area_e_per_a2, before?.worst_area_e_per_a2));
    put('cost-frame-time', duration(first.frame_time_ms));
    put('cost-time', duration(1e3 * checked.duration_s));
    put('time-change', times(checked.duration_s, before?.duration_s));
    put('cost-coverage', `${percent(first.coverage_touched)} · dose ${percent(first.coverage_dose)}`);
    put('cost-samples', `${figure(first.samples, 9)} · ${percent(first.blanked_share)} blanked`);
    const { recording_bytes: samples, pictures_bytes: pictures, disk_free_bytes: free } = checked;
    put('cost-room', `${bytes(samples)}${pictures ? ` + ${bytes(pictures)}` : ''}${free === null ? '' : ` of ${bytes(free)}`}`);
    byId('cost-room').dataset.kind = free !== null && samples + pictures > free ? 'warn' : 'none';
    byId('cost-room').title = 'room that the samples take, then the pictures if all are stored, of what is free on the disk';
    put('cost-arming', checked.arming_s < 0.5 ? 'at once' : `about ${duration(1e3 * checked.arming_s)}`);
    byId('cost-arming').dataset.kind = checked.arming_s > 2 ? 'warn' : 'none';
    const limit = checked.area_limit_e_per_a2;
    const after = checked.area_e_per_a2 + checked.worst_area_e_per_a2;
    put('cost-area', limit === null ? `${figure(after)} e/Å², no limit` : `${figure(after)} of ${figure(limit)} e/Å²`);
    byId('cost-area').dataset.kind = limit !== null && after > 0.9 * limit ? 'warn' : 'none';
    byId('plan-notes').replaceChildren(...checked.notes.map((note) => Object.assign(document.createElement('li'), { textContent: note })));
  }

  refused(refusal) {
    const said = byId('plan-said');
    said.hidden = !refusal;
    const text = refusal?.text ?? '';
    if (said.textContent !== text) said.textContent = text;
    byId('plan-cost').classList.toggle('refused', Boolean(refusal));
    const to = refusal?.quantity ? fieldOf(refusal.quantity) : null;
    for (const name of [...INPUTS, ...REGION]) {
      const wrong = name === to || (to === 'region' && REGION.includes(name));
      input(name).toggleAttribute('aria-invalid', wrong);
    }
  }
}
