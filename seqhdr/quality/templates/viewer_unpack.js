// Unpacks what pack_viewer packed: planes of 16 bits, and the light they stand for.

async function inflate(base64, wordBytes) {
  const packed = Uint8Array.from(atob(base64), (letter) => letter.charCodeAt(0));
  const stream = new Blob([packed]).stream().pipeThrough(new DecompressionStream("deflate"));
  const bytes = new Uint8Array(await new Response(stream).arrayBuffer());
  const words = new Uint32Array(bytes.length / wordBytes);
  for (let plane = 0; plane < wordBytes; plane++) {
    for (let i = 0; i < words.length; i++) words[i] |= bytes[plane * words.length + i] << (8 * plane);
  }
  return words;
}

/** (H, W, 3) of 16 bits from folded differences of green, red - green and blue - green. */
async function unpackPlanes(base64, width, height) {
  const folded = await inflate(base64, 2);
  const count = width * height;
  if (folded.length !== 3 * count) throw new Error("planes of another size");
  for (let i = 0; i < folded.length; i++) {
    const before = i % width ? folded[i - 1] : 0;
    folded[i] = (before + ((folded[i] >>> 1) ^ -(folded[i] & 1))) & 0xffff;
  }
  const values = new Uint16Array(3 * count);
  for (let i = 0; i < count; i++) {
    values[3 * i] = folded[count + i] + folded[i];
    values[3 * i + 1] = folded[i];
    values[3 * i + 2] = folded[2 * count + i] + folded[i];
  }
  return values;
}

async function unpackCurve(base64) {
  const bits = await inflate(base64, 4);
  for (let i = 1; i < bits.length; i++) bits[i] += bits[i - 1];
  return new Float32Array(bits.buffer);
}

let halves = null;
function lightOfHalf() {
  if (halves) return halves;
  halves = new Float32Array(65536);
  for (let bits = 0; bits < 65536; bits++) {
    const exponent = (bits >> 10) & 31;
    const fraction = bits & 1023;
    let value = exponent ? (1 + fraction / 1024) * 2 ** (exponent - 15) : fraction * 2 ** -24;
    if (exponent === 31) value = fraction ? NaN : Infinity;
    halves[bits] = bits >> 15 ? -value : value;
  }
  return halves;
}

/**
 * What is shown of a picture: light is (H, W, 3) scene-linear Rec.709, codes is null where it is made of light.
 * The curves are the payload's.
 */
async function unpackPicture(packed, crop, curves) {
  const values = await unpackPlanes(packed.planes, crop.width, crop.height);
  const light = new Float32Array(values.length);
  if (packed.kind === "half") {
    const table = lightOfHalf();
    for (let i = 0; i < values.length; i++) light[i] = table[values[i]];
    return { name: packed.name, codes: null, light };
  }
  const curve = await unpackCurve(curves[packed.curve]);
  const rows = packed.to_rec709;
  for (let i = 0; i < values.length; i += 3) {
    const [r, g, b] = [curve[values[i]], curve[values[i + 1]], curve[values[i + 2]]];
    for (let k = 0; k < 3; k++) light[i + k] = rows[k][0] * r + rows[k][1] * g + rows[k][2] * b;
  }
  return { name: packed.name, codes: values, light };
}
