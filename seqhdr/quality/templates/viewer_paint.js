// Draws two pictures by WebGL2, one picture pixel on a whole number of device pixels.


const VERTEX = `#version 300 es
  void main() { // one triangle over everything
    gl_Position = vec4(gl_VertexID == 1 ? 3.0 : -1.0, gl_VertexID == 2 ? 3.0 : -1.0, 0.0, 1.0);
  }`;
const FRAGMENT = `#version 300 es
  precision highp float;
  precision highp int;
  precision highp sampler2D;
  uniform sampler2D a_lin, b_lin;
  uniform ivec2 origin_px;  // where the picture's left top pixel is, in device pixels of the canvas
  uniform int scale_px, canvas_height_px, wipe_px, mode;
  uniform float light_gain, stretch;
  uniform vec3 pivot;
  out vec4 colour;

  const float FLOOR = 1.0 / 4096.0;  // less light counts as this much, or black would be infinitely far away

  vec3 display(vec3 rgb_lin) {  // IEC 61966-2-1
    vec3 v = clamp(rgb_lin * light_gain, 0.0, 1.0);
    return mix(1.055 * pow(v, vec3(1.0 / 2.4)) - 0.055, 12.92 * v, lessThanEqual(v, vec3(0.0031308)));
  }

  bool broken(vec3 v) { return any(isnan(v)); }

  void main() {
    ivec2 at = ivec2(int(gl_FragCoord.x), canvas_height_px - 1 - int(gl_FragCoord.y)) - origin_px;
    ivec2 size = textureSize(a_lin, 0) * scale_px;
    if (any(lessThan(at, ivec2(0))) || any(greaterThanEqual(at, size))) {
      colour = vec4(0.0);
      return;
    }
    vec3 a = texelFetch(a_lin, at / scale_px, 0).rgb;
    vec3 b = texelFetch(b_lin, at / scale_px, 0).rgb;
    bool is_a = int(gl_FragCoord.x) < wipe_px;
    if (mode == 0 ? broken(is_a ? a : b) : broken(a) || broken(b)) {
      colour = vec4(1.0, 0.0, 1.0, 1.0);
      return;
    }
    vec3 shown;
    if (mode == 0) {
      shown = display(is_a ? a : b);
      if (stretch > 1.0) shown = (shown - pivot) * stretch + 0.5;
    } else if (mode == 1) {
      shown = abs(log2(max(a, FLOOR)) - log2(max(b, FLOOR))) * stretch;
    } else {
      shown = abs(display(a) - display(b)) * stretch;
    }
    colour = vec4(clamp(shown, 0.0, 1.0), 1.0);
  }`;
const MODES = ["picture", "stops", "display"];

/** What draws on a canvas, or null where the browser has no WebGL2. */
function makePainter(canvas) {
  const options = { alpha: true, antialias: false, depth: false, preserveDrawingBuffer: true };
  const gl = canvas.getContext("webgl2", options);
  if (!gl) return null;
  let uniforms = {};

  function shader(kind, text) {
    const made = gl.createShader(kind);
    gl.shaderSource(made, text);
    gl.compileShader(made);
    return made;
  }

  function setUp() {
    const program = gl.createProgram();
    gl.attachShader(program, shader(gl.VERTEX_SHADER, VERTEX));
    gl.attachShader(program, shader(gl.FRAGMENT_SHADER, FRAGMENT));
    gl.linkProgram(program);
    if (!gl.getProgramParameter(program, gl.LINK_STATUS)) return false;
    gl.useProgram(program);
    uniforms = {};
    for (let i = 0; i < gl.getProgramParameter(program, gl.ACTIVE_UNIFORMS); i++) {
      const { name } = gl.getActiveUniform(program, i);
      uniforms[name] = gl.getUniformLocation(program, name);
    }
    for (const unit of [0, 1]) {
      gl.activeTexture(gl.TEXTURE0 + unit);
      gl.bindTexture(gl.TEXTURE_2D, gl.createTexture());
      gl.texParameteri(gl.TEXTURE_2D, gl.TEXTURE_MIN_FILTER, gl.NEAREST);
      gl.texParameteri(gl.TEXTURE_2D, gl.TEXTURE_MAG_FILTER, gl.NEAREST);
    }
    gl.uniform1i(uniforms.a_lin, 0);
    gl.uniform1i(uniforms.b_lin, 1);
    return true;
  }

  /** Hands both pictures of a crop to the graphics card. */
  function upload(a, b, crop) {
    [a, b].forEach((picture, unit) => {
      gl.activeTexture(gl.TEXTURE0 + unit);
      gl.texImage2D(
        gl.TEXTURE_2D, 0, gl.RGB32F, crop.width, crop.height, 0, gl.RGB, gl.FLOAT, picture.light,
      );
    });
  }

  /** Lengths in device pixels, wipe 0 .. 1, pivot as it is displayed; whether anything was drawn. */
  function draw({ origin, scale, wipe, mode, lightGain, stretch, pivot }) {
    if (gl.isContextLost()) return false;
    gl.viewport(0, 0, canvas.width, canvas.height);
    gl.uniform2i(uniforms.origin_px, origin.x, origin.y);
    gl.uniform1i(uniforms.scale_px, scale);
    gl.uniform1i(uniforms.canvas_height_px, canvas.height);
    gl.uniform1i(uniforms.wipe_px, Math.round(wipe * canvas.width));
    gl.uniform1i(uniforms.mode, mode);
    gl.uniform1f(uniforms.light_gain, lightGain);
    gl.uniform1f(uniforms.stretch, stretch);
    gl.uniform3fv(uniforms.pivot, pivot);
    gl.drawArrays(gl.TRIANGLES, 0, 3);
    return true;
  }

  return { setUp, upload, draw };
}
