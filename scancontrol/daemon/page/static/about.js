// What the next recordings say of themselves: specimen, place, operator, project, notes; typed here, kept by the daemon.

const byId = (id) => document.getElementById(id);
const TEXTS = ['specimen', 'operator', 'project', 'sample', 'notes'];
const PLACES = ['y', 'x']; // of the stage, in µm

export class About {
  /** `ask(message)` resolves to the daemon's answer. */
  constructor(ask) {
    this.ask = ask;
    this.known = ''; // what the daemon said last
    this.touched = false; // whether something here is typed and not yet taken
    byId('side-about').addEventListener('input', () => { this.touched = true; this.say('', 'none'); this.mark(); });
    byId('side-about').addEventListener('submit', (event) => { event.preventDefault(); this.send(); });
    byId('about-undo').addEventListener('click', () => { this.touched = false; this.known = ''; this.say('', 'none'); this.mark(); });
  }

  /** Show what the daemon says, unless something is being typed. */
  update(description, operator) {
    byId('about-fields').disabled = !operator;
    if (!description || this.touched) return;
    const known = JSON.stringify(description);
    if (known === this.known) return;
    this.known = known;
    for (const name of TEXTS) byId(`about-${name}`).value = description[name];
    PLACES.forEach((axis, i) => { byId(`about-${axis}`).value = description.stage_um[i]; });
  }

  mark() {
    byId('about-send').disabled = byId('about-undo').disabled = !this.touched;
  }

  async send() {
    const about = Object.fromEntries(TEXTS.map((name) => [name, byId(`about-${name}`).value]));
    about.stage_um = PLACES.map((axis) => Number(byId(`about-${axis}`).value));
    const answer = await this.ask({ type: 'describe', about });
    if (answer.type === 'refusal') { this.say(answer.text, 'bad'); return; }
    Object.assign(this, { touched: false, known: '' });
    this.mark();
    this.say('The next recording says this.', 'good');
  }

  say(text, kind) {
    const node = byId('about-said');
    node.textContent = text;
    node.dataset.kind = kind;
    node.hidden = !text;
  }
}
