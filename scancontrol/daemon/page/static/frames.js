// Binary images: header length (u32 LE), JSON header, then planes, then the strain of a restored crystal. See scancontrol/daemon/page/frames.py.

/** Return {type, seq, rows, cols, …, planes: {name: Float32Array | Uint8Array}} in the samples' units. */
export function decodeFrame(buffer) {
  const length = new DataView(buffer).getUint32(0, true);
  const header = JSON.parse(new TextDecoder().decode(new Uint8Array(buffer, 4, length)));
  const count = header.rows * header.cols;
  const planes = {};
  let offset = 4 + length;
  for (const plane of header.planes) {
    if (plane.dtype === 'u1') {
      planes[plane.name] = new Uint8Array(buffer, offset, count);
      offset += count;
    } else {
      const step = (plane.high - plane.low) / 65535;
      const quantised = new Uint16Array(buffer, offset, count);
      const values = new Float32Array(count);
      for (let i = 0; i < count; i++) values[i] = plane.low + step * quantised[i];
      planes[plane.name] = values;
      offset += 2 * count;
    }
  }
  // A crystal's strain is on a grid of its own, behind the planes.
  const strain = header.strain_side ? new Float32Array(buffer.slice(offset, offset + 32 * header.strain_side ** 2)) : null;
  return { ...header, planes, strain };
}
