// What is below the pictures: the histogram with its window of contrast, or the profile along the line that was drawn.

import { alongLine, measureLine, measuredNear, ProfilePlot } from './profile.js';
import { fieldOf } from './pictures.js';
import { alike, measuredFor } from './scene.js';

const byId = (id) => document.getElementById(id);

export class Graph {
  /** `contrast` draws the histogram; `changed()` when another width of the line was chosen. */
  constructor(contrast, changed) {
    this.contrast = contrast;
    this.plot = new ProfilePlot(byId('profile'));
    byId('profile-width').addEventListener('change', changed);
  }

  draw(tools, shown) {
    const { restoration, truth } = shown;
    const line = tools.line;
    const profiled = Boolean(line && restoration);
    byId('profile-panel').hidden = !profiled;
    byId('histogram').hidden = profiled;
    if (!profiled) { this.contrast.draw(); return; }
    const width = Number(byId('profile-width').value);
    const { rows, cols, planes } = restoration;
    const measured = measuredFor(shown);
    const field = fieldOf(measured);
    const { nm, deg } = field ? measureLine(line, field.widthNm, field.heightNm) : { nm: 0, deg: 0 };
    byId('profile-text').textContent = field ? `${Number(nm.toPrecision(4))} nm, ${deg.toFixed(1)}°` : '';
    this.plot.draw({
      lengthNm: nm,
      restored: alongLine(planes.estimate, rows, cols, line, width),
      interval: planes.interval ? alongLine(planes.interval, rows, cols, line, width) : null,
      truth: alike(truth, restoration) ? alongLine(truth.planes.image, rows, cols, line, width) : null,
      measured: measured ? measuredNear(measured.planes.image, measured.planes.weight, measured.rows, measured.cols, line, width) : null,
    });
  }
}
