// Colour maps as tables of packed pixels, and the small statistics that choose their limits. Pure.

/** Viridis at 33 even steps (CC0, van der Walt and Smith); between them it is linear, to within 3 of 255 levels. */
const VIRIDIS = '440154470d6048186a482374472d7b4537814240863e49893b528b375b8d33638d2f6b8e2c728e297a8e26828e23898e'
  + '21918c1f988b1fa08822a78528ae8032b67a3fbc734ec36b5ec96270cf5784d44b98d83eaddc30c2df23d8e219ece51bfde725';
/** Magma (CC0, Smith and van der Walt) likewise, and cividis (Nuñez, Anderton, Renslow 2018), also even to colour-blind eyes. */
const MAGMA = '0000040303120a0822130d341d114729115a36106b440f7651127c5d177f6a1c81762181832681902a819c2e7faa337db73779c43c75d0416fdc4869'
  + 'e75263ef5d5ef56b5cf9795dfc8961fd9869fea772feb67cfec488fed395fde2a3fcf0b2fcfdbf';
const CIVIDIS = '00224e00255400285b002b62002e6a0030700533711235701a386f213b6e273e6e2d416d32436d36466c3b496c3f4c6c434e6c47516c4b546c4f576c'
  + '535a6d565c6d5a5f6e5e626e61656f656870686a716c6d726f70737273747676767979777d7c78807f788482798885788c8878908b78938e78979177'
  + '9b94769f9775a39a74a79d73aba072afa471b4a76fb8aa6ebcae6cc0b16ac4b468c8b866cdbb63d1bf61d5c25edac65bdec958e2cd54e7d150ebd44b'
  + 'f0d846f5dc41f9e03afee434fee838';
/** Diverging with a dark middle, so that on this page only what differs is bright. */
const DIVERGING = '9fe3ff5cc0f53b93d62a679b1c40601320301012161012162d1c123a24126a3a1aa85a22e08a3affc46bfff0c0';
const GREY = '000000ffffff';
const INVERTED = 'ffffff000000';

function table(hex) {
  const stops = hex.match(/.{6}/g).map((stop) => [0, 2, 4].map((at) => parseInt(stop.slice(at, at + 2), 16)));
  const packed = new Uint32Array(256);
  for (let i = 0; i < 256; i++) {
    const place = (i / 255) * (stops.length - 1);
    const from = Math.min(Math.floor(place), stops.length - 2);
    const [r, g, b] = [0, 1, 2].map((c) => Math.round(stops[from][c] + (place - from) * (stops[from + 1][c] - stops[from][c])));
    packed[i] = pack(r, g, b);
  }
  return packed;
}

/** One RGBA pixel as putImageData's buffer holds it on every machine that browsers run on (little-endian). */
export function pack(r, g, b) { return ((255 << 24) | (b << 16) | (g << 8) | r) >>> 0; }

export const MAPS = {
  grey: table(GREY), inverted: table(INVERTED), viridis: table(VIRIDIS), magma: table(MAGMA), cividis: table(CIVIDIS),
  diverging: table(DIVERGING),
};

const TONES = 1024; // finer than the table, so that a gamma below 1 leaves no steps in the darks
const toned = new Map();

/** The table of `map` under `gamma`, in TONES even steps of the value: colour = table(step ^ gamma). The last few are kept. */
export function tones(map, gamma = 1) {
  const key = `${map} ${gamma}`;
  if (!toned.has(key)) {
    if (toned.size > 15) toned.clear();
    toned.set(key, Uint32Array.from({ length: TONES }, (_, i) => MAPS[map][Math.round(255 * (i / (TONES - 1)) ** gamma)]));
  }
  return toned.get(key);
}

/** Counts of the values (where weight is not 0) in `bins` equal steps from low to high, and their number. */
export function histogram(values, weight, low, high, bins) {
  const counts = new Uint32Array(bins);
  const scale = high > low ? bins / (high - low) : 0;
  let total = 0;
  for (let i = 0; i < values.length; i++) {
    if (weight && !weight[i]) continue;
    counts[Math.max(0, Math.min(bins - 1, Math.floor((values[i] - low) * scale)))] += 1;
    total += 1;
  }
  return { counts, total, low, high };
}

/** Least and greatest value where weight is not 0; null if there is none. */
export function extent(values, weight) {
  let low = Infinity;
  let high = -Infinity;
  for (let i = 0; i < values.length; i++) {
    if (weight && !weight[i]) continue;
    if (values[i] < low) low = values[i];
    if (values[i] > high) high = values[i];
  }
  return low <= high ? [low, high] : null;
}

/** The values below which `percent` and 100 − `percent` of a histogram lie, interpolated within its steps. */
export function percentiles(hist, percent) {
  const step = (hist.high - hist.low) / hist.counts.length;
  const at = (target) => {
    let below = 0;
    for (let i = 0; i < hist.counts.length; i++) {
      if (hist.counts[i] && below + hist.counts[i] >= target) {
        return hist.low + step * (i + Math.max(0, target - below) / hist.counts[i]);
      }
      below += hist.counts[i];
    }
    return hist.high;
  };
  return [at((percent / 100) * hist.total), at((1 - percent / 100) * hist.total)];
}

/** The greatest length of the form 1, 2 or 5 × 10ⁿ that is at most `longest`. */
export function niceLength(longest) {
  const decade = 10 ** Math.floor(Math.log10(longest));
  for (const figure of [5, 2, 1]) if (figure * decade <= longest * (1 + 1e-9)) return figure * decade;
  return decade;
}

/** A length in nm with the unit a microscopist would say. */
export function lengthText(nm) {
  const [value, unit] = nm >= 1e6 ? [nm / 1e6, 'mm'] : nm >= 1e3 ? [nm / 1e3, 'µm'] : nm >= 1 ? [nm, 'nm'] : [nm * 10, 'Å'];
  return `${Number(value.toPrecision(3))} ${unit}`;
}
