// The Fourier transform of a picture, as a microscopist looks at it: log power, windowed, origin in the middle. Pure.

/** In-place radix-2 transform of n = 2^k complex values that lie `stride` apart from `start` (Cooley and Tukey 1965). */
function transform(re, im, start, stride, n, cosines, sines) {
  for (let i = 1, j = 0; i < n; i++) {
    let bit = n >> 1;
    for (; j & bit; bit >>= 1) j ^= bit;
    j ^= bit;
    if (i < j) {
      const [a, b] = [start + i * stride, start + j * stride];
      [re[a], re[b]] = [re[b], re[a]];
      [im[a], im[b]] = [im[b], im[a]];
    }
  }
  for (let half = 1; half < n; half *= 2) {
    const skip = n / (2 * half);
    for (let from = 0; from < n; from += 2 * half) {
      for (let k = 0; k < half; k++) {
        const [a, b] = [start + (from + k) * stride, start + (from + k + half) * stride];
        const [c, s] = [cosines[k * skip], sines[k * skip]];
        const [x, y] = [re[b] * c - im[b] * s, re[b] * s + im[b] * c];
        re[b] = re[a] - x;
        im[b] = im[a] - y;
        re[a] += x;
        im[a] += y;
      }
    }
  }
}

/**
 * log10 of the power of a (rows × cols) picture less its mean under a Hann window, padded to a square of side 2^k:
 * {values, side, low, high}. Frequency 0 is at [side/2, side/2]; a step is 1/side of a pixel's frequency, both ways.
 * `low` and `high` are a window of contrast: the median, and what one in 5,000 is above.
 */
export function powerSpectrum(values, rows, cols) {
  const side = 2 ** Math.ceil(Math.log2(Math.max(rows, cols)));
  const [re, im] = [new Float32Array(side * side), new Float32Array(side * side)];
  const hann = (n) => Float32Array.from({ length: n }, (_, i) => Math.sin((Math.PI * (i + 0.5)) / n) ** 2);
  const [down, across] = [hann(rows), hann(cols)];
  let [sum, weight] = [0, 0];
  for (let y = 0, i = 0; y < rows; y++) for (let x = 0; x < cols; x++, i++) { sum += values[i] * down[y] * across[x]; weight += down[y] * across[x]; }
  const mean = sum / weight;
  for (let y = 0, i = 0; y < rows; y++) for (let x = 0; x < cols; x++, i++) re[y * side + x] = (values[i] - mean) * down[y] * across[x];
  const angle = (k) => (-2 * Math.PI * k) / side;
  const cosines = Float32Array.from({ length: side / 2 }, (_, k) => Math.cos(angle(k)));
  const sines = Float32Array.from({ length: side / 2 }, (_, k) => Math.sin(angle(k)));
  for (let y = 0; y < rows; y++) transform(re, im, y * side, 1, side, cosines, sines);
  for (let x = 0; x < side; x++) transform(re, im, x, side, side, cosines, sines);
  const found = new Float32Array(side * side);
  const half = side / 2;
  for (let y = 0, i = 0; y < side; y++) {
    const row = ((y + half) % side) * side;
    for (let x = 0; x < side; x++, i++) found[row + ((x + half) % side)] = Math.log10(re[i] ** 2 + im[i] ** 2 + 1e-30);
  }
  const sorted = Float32Array.from({ length: Math.ceil(found.length / 7) }, (_, i) => found[7 * i]).sort();
  return { values: found, side, low: sorted[sorted.length >> 1], high: sorted[Math.floor(sorted.length * (1 - 1 / 5000))] };
}

/** The spatial frequency at place (y, x), fractions of the transform: {perNm, dNm, angleDeg}; the angle is from +x, up. */
export function frequencyAt([y, x], side, pixelNm) {
  const [fy, fx] = [(Math.floor(y * side) - side / 2) / (side * pixelNm), (Math.floor(x * side) - side / 2) / (side * pixelNm)];
  const perNm = Math.hypot(fy, fx);
  return { perNm, dNm: perNm ? 1 / perNm : Infinity, angleDeg: (Math.atan2(-fy, fx) * 180) / Math.PI };
}
