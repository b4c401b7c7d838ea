// A plan as its form shows it, and the form's fields back into the plan. What the form does not show stays as it was. Pure.

/** The patterns that the form offers; what of each frame varies, so that frames see what the ones before left out. */
export const KINDS = {
  archimedean: ['spiral', { turn_deg: 'golden' }],
  fermat: ['spiral, Fermat', { turn_deg: 'golden' }],
  jittered_grid: ['jittered grid', { seed_per_frame: true }],
  uniform_random: ['random points', { seed_per_frame: true }],
  momentum_walk: ['momentum walk', { seed_per_frame: true }],
  line_hop: ['line hop', { seed_per_frame: true }],
  hilbert: ['Hilbert curve', {}],
  lissajous: ['Lissajous', {}],
  serpentine: ['serpentine lines', {}],
  interlaced: ['interlaced lines', {}],
  raster: ['raster lines', {}],
};

/** Parameters of which a coverage takes the place. */
const FREE = ['points', 'turn_spacing_px', 'turns', 'channels', 'nodes', 'cycles', 'lines', 'samples_per_line'];
export const WHOLE = { y: 0, x: 0, height: 1, width: 1, rotation_deg: 0 };
const NUMBERS = ['fov_nm', 'dwell_us', 'frames', 'interval_s'];

/** What the form shows of a plan: strings, as a person types them; `detectors` a list, empty where all are recorded. */
export function fieldsOf(plan) {
  const [pattern] = plan.patterns;
  const { region = WHOLE, rotation_deg: turned = 0 } = plan;
  return {
    name: plan.name,
    kind: plan.patterns.length > 1 ? '' : pattern.kind, // several in turn are kept as they are
    one_in: pattern.coverage ? String(Number((1 / pattern.coverage.value).toPrecision(6))) : '',
    by: pattern.coverage?.by ?? 'touched',
    ...Object.fromEntries(NUMBERS.map((name) => [name, String(plan[name] ?? (name === 'interval_s' ? 0 : 1))])),
    rows: String(plan.shape[0]),
    cols: String(plan.shape[1]),
    detectors: [...(plan.detectors ?? [])],
    region: { y: region.y, x: region.x, height: region.height, width: region.width, rotation_deg: turned },
  };
}

const isNumber = (text) => String(text).trim() !== '' && Number.isFinite(Number(text));

/** Why the form is no plan yet, as a refusal: a field that holds no number; null if each does. */
export function oddField(fields) {
  const asked = [...NUMBERS, 'rows', 'cols', ...(fields.one_in.trim() ? ['one_in'] : [])];
  const name = asked.find((one) => !isNumber(fields[one])) ?? (fields.one_in.trim() && !(Number(fields.one_in) > 0) ? 'one_in' : null);
  return name && { type: 'refusal', quantity: name, text: `"${fields[name]}" is not a number ${name === 'one_in' ? 'above 0 ' : ''}here; give one` };
}

/** The plan that `fields`, of which none is odd, describe, made from `base`. */
export function planOf(base, fields) {
  const { rotation_deg: turned, ...region } = fields.region;
  const before = fieldsOf(base);
  const other = ['kind', 'one_in', 'by'].some((name) => fields[name] !== before[name]);
  return {
    ...base,
    name: fields.name.trim(),
    shape: [Number(fields.rows), Number(fields.cols)],
    ...Object.fromEntries(NUMBERS.map((name) => [name, Number(fields[name])])),
    detectors: [...fields.detectors],
    region,
    rotation_deg: turned,
    patterns: other ? base.patterns.map((pattern) => patternOf(pattern, fields)) : base.patterns,
  };
}

function patternOf(before, { kind, one_in: oneIn, by }) {
  const pattern = !kind || kind === before.kind ? { ...before } : { kind, ...KINDS[kind][1] };
  if (!oneIn.trim()) return { ...pattern, coverage: null };
  for (const name of FREE) delete pattern[name];
  return { ...pattern, coverage: { value: 1 / Number(oneIn), by } };
}

/** Whether two plans ask for the same, names apart. */
export function samePlan(a, b) {
  const sorted = (value) => (Array.isArray(value) ? value.map(sorted)
    : value && typeof value === 'object' ? Object.fromEntries(Object.keys(value).sort().map((key) => [key, sorted(value[key])])) : value);
  return JSON.stringify(sorted({ ...a, name: '' })) === JSON.stringify(sorted({ ...b, name: '' }));
}

/** Which of the form's fields a refusal is about, by the quantity that it names; null if none of them. */
export function fieldOf(quantity) {
  const name = quantity.replace(/^\$\.?/, '').split(/[ .[]/)[0];
  const known = {
    shape: 'rows', preset: 'name', coverage: 'one_in', region: 'region', rotation_deg: 'region', samples: 'one_in', dose: 'dwell_us',
    patterns: 'one_in', kind: 'kind',
  };
  return known[name] ?? ([...NUMBERS, 'rows', 'cols', 'one_in', 'name'].includes(name) ? name : null);
}
