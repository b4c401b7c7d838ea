// A turned rectangle on a field: {y, x, height, width} in fractions of the field, turned by rotation_deg about its middle,
// as a plan says it (scancontrol/paths/geometry.py). `shape` is {rows, cols} of the frame: what is turned is real space. Pure.

const turn = (deg) => [Math.cos((deg * Math.PI) / 180), Math.sin((deg * Math.PI) / 180)];

/** Its middle and half its sides, in pixels: {cy, cx, h, w}. */
function inPixels({ y, x, height, width }, { rows, cols }) {
  return { cy: (y + height / 2) * rows, cx: (x + width / 2) * cols, h: (height / 2) * rows, w: (width / 2) * cols };
}

/** Place (y, x), in fractions of the field, of the point (v, u) of a region, both −1 to 1 between its edges. */
export function placeIn(region, shape, v, u) {
  const { cy, cx, h, w } = inPixels(region, shape);
  const [c, s] = turn(region.rotation_deg);
  return [(cy + v * h * c + u * w * s) / shape.rows, (cx + u * w * c - v * h * s) / shape.cols];
}

/** Where place (y, x) of the field is in a region: (v, u), both −1 to 1 inside it. */
export function inRegion(region, shape, [y, x]) {
  const { cy, cx, h, w } = inPixels(region, shape);
  const [c, s] = turn(region.rotation_deg);
  const [dy, dx] = [y * shape.rows - cy, x * shape.cols - cx];
  return [(dy * c - dx * s) / h, (dx * c + dy * s) / w];
}

export const corners = (region, shape) => [[-1, -1], [-1, 1], [1, 1], [1, -1]].map(([v, u]) => placeIn(region, shape, v, u));

/** The region of which `fixed` and `moved`, places of the field, are opposite corners, turned by rotation_deg. */
export function between(fixed, moved, rotation_deg, shape) {
  const [c, s] = turn(rotation_deg);
  const [dy, dx] = [(moved[0] - fixed[0]) * shape.rows, (moved[1] - fixed[1]) * shape.cols];
  const [height, width] = [Math.abs(dy * c - dx * s) / shape.rows, Math.abs(dx * c + dy * s) / shape.cols];
  return { y: (fixed[0] + moved[0] - height) / 2, x: (fixed[1] + moved[1] - width) / 2, height, width, rotation_deg };
}

/** The region moved, and shrunk about its middle if it must be, so that no corner leaves the field. */
export function insideField(region, shape) {
  const reach = (one) => {
    const places = corners(one, shape);
    return [0, 1].map((axis) => [Math.min(...places.map((p) => p[axis])), Math.max(...places.map((p) => p[axis]))]);
  };
  let fitted = { ...region };
  const size = Math.max(...reach(fitted).map(([low, high]) => high - low));
  if (size > 1) {
    const by = 0.9999 / size;
    fitted = { ...fitted, y: fitted.y + (fitted.height * (1 - by)) / 2, x: fitted.x + (fitted.width * (1 - by)) / 2, height: fitted.height * by, width: fitted.width * by };
  }
  const [[top, bottom], [left, right]] = reach(fitted);
  fitted.y += Math.max(0, -top) - Math.max(0, bottom - 1);
  fitted.x += Math.max(0, -left) - Math.max(0, right - 1);
  // Rounded as a person would type it; what rounding put outside is shrunk away.
  const near = (value) => Math.round(value * 1e3) / 1e3;
  const rounded = (by) => ({
    y: near(fitted.y + (fitted.height * (1 - by)) / 2), x: near(fitted.x + (fitted.width * (1 - by)) / 2),
    height: near(fitted.height * by), width: near(fitted.width * by), rotation_deg: fitted.rotation_deg,
  });
  const leaves = (one) => reach(one).some(([low, high]) => low < 0 || high > 1 + 1e-9);
  let by = 1;
  while (by > 0.98 && leaves(rounded(by))) by -= 1e-3;
  return rounded(by);
}
