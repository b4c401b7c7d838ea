// Baseline TIFF, little-endian, one uncompressed strip a page: 32-bit floats, or 8-bit red, green, blue. Pure.

const [SHORT, LONG, RATIONAL, ASCII] = [3, 4, 5, 2];

/**
 * Bytes of a TIFF. pages: [{rows, cols, data: Float32Array | Uint8Array (3 a pixel), description, pixelNm}, …].
 * Resolution is in pixels per nanometre with no unit, as ImageJ reads it beside "unit=nm" in the description.
 */
export function encodeTiff(pages) {
  const parts = [];
  let at = 8;
  const put = (bytes) => { const from = at; parts.push(bytes); at += bytes.length; if (at % 2) { parts.push(new Uint8Array(1)); at += 1; } return from; };
  const links = []; // where each directory is
  for (const page of pages) {
    const float = page.data instanceof Float32Array;
    const data = put(new Uint8Array(page.data.buffer, page.data.byteOffset, page.data.byteLength));
    const text = new TextEncoder().encode(`${page.description}\0`);
    const words = put(text);
    const rational = new Uint8Array(8);
    const scale = page.pixelNm ? Math.min(1e6, 4e9 * page.pixelNm) : 1;
    new DataView(rational.buffer).setUint32(0, page.pixelNm ? Math.round(scale / page.pixelNm) : 1, true);
    new DataView(rational.buffer).setUint32(4, Math.round(scale), true);
    const resolution = put(rational);
    const bits = float ? 32 : put(Uint8Array.of(8, 0, 8, 0, 8, 0));
    const channels = float ? 1 : 3;
    const entries = [
      [256, LONG, 1, page.cols], [257, LONG, 1, page.rows], [258, SHORT, channels, bits], [259, SHORT, 1, 1],
      [262, SHORT, 1, float ? 1 : 2], [270, ASCII, text.length, words], [273, LONG, 1, data], [277, SHORT, 1, channels],
      [278, LONG, 1, page.rows], [279, LONG, 1, page.data.byteLength], [282, RATIONAL, 1, resolution],
      [283, RATIONAL, 1, resolution], [296, SHORT, 1, 1], ...(float ? [[339, SHORT, 1, 3]] : []),
    ];
    const directory = new Uint8Array(2 + 12 * entries.length + 4);
    const view = new DataView(directory.buffer);
    view.setUint16(0, entries.length, true);
    entries.forEach(([tag, type, count, value], i) => {
      const from = 2 + 12 * i;
      view.setUint16(from, tag, true);
      view.setUint16(from + 2, type, true);
      view.setUint32(from + 4, count, true);
      if (type === SHORT && count === 1) view.setUint16(from + 8, value, true); else view.setUint32(from + 8, value, true);
    });
    links.push({ offset: put(directory), view });
  }
  links.forEach(({ view }, i) => view.setUint32(view.byteLength - 4, links[i + 1]?.offset ?? 0, true));
  const file = new Uint8Array(at);
  file.set([0x49, 0x49, 42, 0]);
  new DataView(file.buffer).setUint32(4, links[0].offset, true);
  let from = 8;
  for (const part of parts) { file.set(part, from); from += part.length; }
  return file;
}
