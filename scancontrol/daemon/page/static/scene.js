// What has come from the daemon and which of it is on show: the newest, or a kept frame that is looked back at. Pure.

const KEPT_FRAMES = 32;
const KEPT_BYTES = 192e6;

const planesBytes = (frame) => Object.values(frame.planes).reduce((sum, plane) => sum + plane.byteLength, 0);

export const alike = (a, b) => Boolean(a && b && a.rows === b.rows && a.cols === b.cols);
const same = (a, b) => alike(a, b) && a.series === b.series && a.frame === b.frame && a.channel === b.channel;

export class Scene {
  constructor() { this.clear(); }

  clear() {
    Object.assign(this, { partial: null, complete: null, restoration: null, beside: null, truth: null, past: [], held: null });
  }

  take(frame) {
    if (frame.type === 'truth') {
      this.truth = frame.planes.image ? frame : null;
      for (const kept of this.past) if (same(kept.restoration, this.truth)) kept.truth = this.truth;
      return;
    }
    if (frame.type === 'beside') { this.beside = frame; return; }
    if (frame.type === 'restoration') {
      this.restoration = frame;
      if (!frame.partial) this.keep(frame);
      return;
    }
    if (frame.type === 'complete') {
      this.complete = frame;
      for (const kept of this.past) if (same(kept.restoration, frame)) kept.measured = frame;
    }
    // A frame's last state can arrive before one of its earlier ones: each kind has its own place in the queue.
    if (!this.partial || frame.seq > this.partial.seq) this.partial = frame;
  }

  keep(restoration) {
    if (this.past.length && same(this.past.at(-1).restoration, restoration)) this.past.pop(); // another view of the same frame
    const own = (frame) => (same(frame, restoration) ? frame : null);
    this.past.push({ restoration, measured: own(this.complete), truth: own(this.truth) });
    const most = Math.max(1, Math.min(KEPT_FRAMES, Math.floor(KEPT_BYTES / (2 * planesBytes(restoration)))));
    const gone = this.past.splice(0, Math.max(0, this.past.length - most)).length;
    // Whoever looks back goes on looking at the same frame while newer ones come, until it is let go.
    if (this.held !== null) this.held = Math.max(0, this.held - gone);
  }

  /** Where among the kept frames the newest picture is; one that is in progress is beyond the last of them. */
  get end() { return this.past.length - (this.restoration?.partial ? 0 : 1); }

  /** Step `by` frames forward, or back where negative; past the newest it is live again. */
  step(by) {
    const at = (this.held ?? this.end) + by;
    this.held = at >= this.end || !this.past.length ? null : Math.max(0, at);
  }

  live() { this.held = null; }

  /**
   * The truth of what `restoration` is of; null where it is not known, as of another detector. One that is of a single
   * frame is that of the newest picture, of which it comes next, and of the kept frame that it came for.
   */
  truthOf(restoration, own) {
    const truth = own === undefined || this.truth?.frame === undefined ? this.truth : own;
    return truth && (!truth.channel || !restoration?.channel || truth.channel === restoration.channel) ? truth : null;
  }

  /** The frames on show; `held` says how many frames back they are, 0 where they are the newest. */
  get shown() {
    const { partial, complete, restoration, beside } = this;
    if (this.held === null) return { partial, complete, restoration, beside, truth: this.truthOf(restoration), held: 0 };
    const { measured, restoration: kept, truth } = this.past[this.held];
    return { partial: measured, complete: measured, restoration: kept, beside: null, truth: this.truthOf(kept, truth), held: this.end - this.held };
  }
}

/** The measured frame that belongs to the restoration on show: its own if it is here, else the newest; or null. */
export function measuredFor({ partial, complete, restoration }) {
  const frames = [complete, partial];
  return frames.find((frame) => same(frame, restoration)) ?? [partial, complete].find((frame) => alike(frame, restoration)) ?? null;
}
