// Where a crop lies on the canvas: each of its pixels is a square of whole device pixels.
const MAX_ZOOM = 16;

const clamp = (value, low, high) => Math.min(Math.max(value, low), high);
const pixelRatio = () => window.devicePixelRatio || 1;

/** Of one step of zoom, in device pixels. */
const unit = () => Math.max(1, Math.round(pixelRatio()));

/** A crop of width x height pixels on a canvas; all places on the canvas are in device pixels. */
class Place {
  constructor(canvas) {
    this.canvas = canvas;
    this.crop = null;
    this.scale = 1; // device pixels per picture pixel
    this.origin = { x: 0, y: 0 }; // of the picture
  }

  /** The largest zoom at which the crop fits a room, in device pixels; never less than 1. */
  fitting(width, height) {
    const across = clamp(Math.floor(width / (this.crop.width * unit())), 1, MAX_ZOOM);
    return clamp(Math.min(across, Math.floor(height / (this.crop.height * unit()))), 1, MAX_ZOOM);
  }

  /** As near to a wanted origin as leaves no empty edge; in the middle where there is room to spare. */
  moveTo(x, y) {
    const along = (wanted, picture, room) =>
      picture <= room ? Math.floor((room - picture) / 2) : clamp(Math.round(wanted), room - picture, 0);
    this.origin = {
      x: along(x, this.crop.width * this.scale, this.canvas.width),
      y: along(y, this.crop.height * this.scale, this.canvas.height),
    };
  }

  moveBy(dx, dy) {
    this.moveTo(this.origin.x + dx, this.origin.y + dy);
  }

  /** In the middle, at a zoom. */
  centre(zoom) {
    this.scale = zoom * unit();
    const { canvas, crop, scale } = this;
    this.moveTo((canvas.width - crop.width * scale) / 2, (canvas.height - crop.height * scale) / 2);
  }

  /** Zooms, and leaves what is at a place where it is. */
  zoomTo(zoom, at) {
    const factor = (zoom * unit()) / this.scale;
    this.scale = zoom * unit();
    this.moveTo(at.x - (at.x - this.origin.x) * factor, at.y - (at.y - this.origin.y) * factor);
  }

  /** What stays in its place while zooming without a mouse: a pixel where it is in sight, else the middle. */
  anchor(pixel) {
    const { canvas, origin, scale } = this;
    const at = { x: canvas.width / 2, y: canvas.height / 2 };
    if (!pixel) return at;
    const x = origin.x + (pixel.x + 0.5) * scale;
    const y = origin.y + (pixel.y + 0.5) * scale;
    return x >= 0 && y >= 0 && x < canvas.width && y < canvas.height ? { x, y } : at;
  }

  /** The pixel of the crop at a place, or null. */
  pixelAt(at) {
    const { crop, origin, scale } = this;
    const pixel = { x: Math.floor((at.x - origin.x) / scale), y: Math.floor((at.y - origin.y) / scale) };
    return pixel.x >= 0 && pixel.y >= 0 && pixel.x < crop.width && pixel.y < crop.height ? pixel : null;
  }

  /** Moves just as far as it takes to see all of a pixel. */
  reveal(pixel) {
    const { canvas, origin, scale } = this;
    const left = origin.x + pixel.x * scale;
    const top = origin.y + pixel.y * scale;
    this.moveBy(
      Math.max(-left, 0) - Math.max(left + scale - canvas.width, 0),
      Math.max(-top, 0) - Math.max(top + scale - canvas.height, 0),
    );
  }

  /** Whether some of the crop lies out of sight. */
  get overflows() {
    return this.crop.width * this.scale > this.canvas.width || this.crop.height * this.scale > this.canvas.height;
  }
}
