"""The picture viewer in a real browser: its pixels against numpy, its texts, and everything by keyboard alone."""

from __future__ import annotations

import base64
import io
import json
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import jinja2
import numpy as np
import pytest
from markupsafe import Markup
from PIL import Image

import seqhdr.quality.viewer
from seqhdr.quality.viewer import IDENTITY, CodePicture, Crop, HalfPicture, pack_viewer

if TYPE_CHECKING:
    from playwright.sync_api import Page

Array = np.ndarray[Any, np.dtype[Any]]
Open = Callable[..., None]

W, H = 36, 20
FRAME_WIDTH, FRAME_HEIGHT = 640, 360
X, Y = 200, 120  # of the crops
HOSTILE = "</script><img src=x onerror=alert(1)>\u2028&amp;\"'"

PAGE = """<!doctype html><html lang="en"><head><meta charset="utf-8"><title>viewer</title>
<meta http-equiv="Content-Security-Policy"
      content="default-src 'none'; script-src 'unsafe-inline'; style-src 'unsafe-inline'">
<style>body { margin: 24px; font: 15px/1.5 system-ui, sans-serif; } {% include "viewer.css" %}</style></head>
<body><h1>Report</h1>{% include "viewer.html" %}<div style="height: 3000px">The rest.</div>
<script type="application/json" id="viewer-data">{{ payload | tojson }}</script>
<script>{% include "viewer_scope.js" %}</script></body></html>"""

READ = """canvas => {
    const gl = canvas.getContext("webgl2"), [w, h] = [canvas.width, canvas.height];
    const bytes = new Uint8Array(4 * w * h);
    gl.readPixels(0, 0, w, h, gl.RGBA, gl.UNSIGNED_BYTE, bytes);
    let text = "";
    for (let i = 0; i < bytes.length; i += 8192) text += String.fromCharCode(...bytes.subarray(i, i + 8192));
    return [w, h, btoa(text)];
}"""
DRAWN = "() => new Promise(done => requestAnimationFrame(() => requestAnimationFrame(done)))"
SET = """(input, value) => {
    input.value = value; input.dispatchEvent(new Event("input", {bubbles: true})); }"""
CHOOSE_FRAME = """frame => document.dispatchEvent(new CustomEvent("seqhdr:frame", {detail: {frame}}))"""
# Notes what is handed to the graphics card, bit by bit.
SPY = """
    window.uploads = [];
    const original = WebGL2RenderingContext.prototype.texImage2D;
    WebGL2RenderingContext.prototype.texImage2D = function (...given) {
        const bits = new Uint32Array(given.at(-1).slice().buffer);
        window.uploads.push([given[3], given[4], Array.from(bits)]);
        return original.apply(this, given);
    };"""

# Lets some of the unpacking take longer.
SLOW = """
    const original = Response.prototype.arrayBuffer;
    Response.prototype.arrayBuffer = async function () {
        const bytes = await original.call(this);
        await new Promise(done => setTimeout(done, window.delays_ms?.shift() ?? 0));
        return bytes;
    };"""


def srgb_encode(light: Array) -> Array:
    v = np.clip(light.astype(np.float64), 0, 1)
    return np.where(v <= 0.0031308, 12.92 * v, 1.055 * v ** (1 / 2.4) - 0.055)


def srgb_light(levels: int) -> Array:
    v = np.arange(levels) / (levels - 1)
    return np.where(v <= 0.04045, v / 12.92, ((v + 0.055) / 1.055) ** 2.4).astype(np.float32)


LIGHT = srgb_light(256)


def source_codes(seed: int = 0, levels: int = 256) -> Array:
    rng = np.random.default_rng(seed)
    kind = np.uint8 if levels == 256 else np.uint16
    codes: Array = rng.integers(0, levels, (H, W, 3)).astype(kind)
    codes[0, 0] = 0, levels - 1, levels // 3
    return codes


def result_light(codes: Array, seed: int = 5) -> Array:
    """The light of the codes plus less than half a code, with some highlights far above white."""
    offset_lsb = np.random.default_rng(seed).uniform(-0.4, 0.4, codes.shape)
    light = np.interp(codes + offset_lsb, np.arange(256), LIGHT)
    light[3:6, 8:12] *= 9
    return light.astype(np.float16)


def crops(names: tuple[str, str] = ("source", "result"), why: str = "flicker") -> list[Crop]:
    made = []
    for frame in (1012, 1040):
        codes = source_codes(seed=frame)
        pictures = CodePicture(names[0], codes, LIGHT), HalfPicture(names[1], result_light(codes))
        made.append(Crop(frame, why, X, Y, pictures))
    return made


def light_of(picture: CodePicture | HalfPicture) -> Array:
    if isinstance(picture, HalfPicture):
        return picture.rgb_lin.astype(np.float64)
    return picture.light_of_code.astype(np.float64)[picture.codes] @ np.array(picture.to_rec709).T


@pytest.fixture
def show(tmp_path: Path) -> Open:
    """``show(page, crops)`` opens a page with the viewer; ``payload`` replaces what is packed."""
    folder = Path(seqhdr.quality.viewer.__file__).parent / "templates"
    environment = jinja2.Environment(loader=jinja2.FileSystemLoader(folder), autoescape=True)
    environment.globals["inline"] = lambda name: Markup((folder / name).read_text(encoding="utf-8"))
    template = environment.from_string(PAGE)

    def write(page: Page, chosen: list[Crop] | None = None, *, payload: dict[str, Any] | None = None) -> None:
        packed = payload or pack_viewer(crops() if chosen is None else chosen, width=FRAME_WIDTH, height=FRAME_HEIGHT)
        (tmp_path / "viewer.html").write_text(template.render(payload=packed), encoding="utf-8")
        page.goto((tmp_path / "viewer.html").as_uri())

    return write


def settle(page: Page) -> None:
    page.wait_for_selector("canvas[data-ready=true]", state="attached")
    page.evaluate(DRAWN)


def pixels(page: Page) -> Array:
    """(rows, columns, 4) of 0..255 on the canvas, in device pixels."""
    settle(page)
    width, height, text = page.eval_on_selector("canvas", READ)
    return np.frombuffer(base64.b64decode(text), np.uint8).reshape(height, width, 4)[::-1]


def image(page: Page, zoom: int) -> Array:
    """(H, W, 3) of the whole picture, each of whose pixels must be one square of one colour."""
    shown = pixels(page)
    assert shown.shape == (H * zoom, W * zoom, 4)
    assert (shown[..., 3] == 255).all()
    squares = shown.reshape(H, zoom, W, zoom, 4)
    assert (squares == squares[:, :1, :, :1]).all()
    return squares[:, 0, :, 0, :3].astype(int)


def set_slider(page: Page, name: str, value: float) -> None:
    page.eval_on_selector(f"[data-{name}]", SET, str(value))


def rows(page: Page) -> dict[str, list[str]]:
    """The probe's table, "A source / code" → its three cells."""
    settle(page)
    found, side = {}, ""
    for row in page.locator("[data-probe] tbody tr").all():
        cells = row.locator("td").all_inner_texts()
        if cells:
            found[f"{side} / {row.locator('th').inner_text()}"] = cells
        else:
            side = row.locator("th").inner_text()
    return found


def expect(shown: Array, display: Array) -> None:
    # Half a code of rounding, and a little for the graphics card's pow.
    assert np.abs(shown - 255 * np.clip(display, 0, 1)).max() <= 0.75


ZOOM = 7  # what fits 36x20 pixels in the page


@pytest.fixture
def page(new_page: Callable[..., Page]) -> Page:
    """A small page, which is drawn sooner."""
    return new_page(viewport={"width": 300, "height": 700})


def test_both_sides_of_the_wipe_show_their_light_through_the_srgb_curve(page: Page, show: Open) -> None:
    show(page)
    a, b = (srgb_encode(light_of(picture)) for picture in crops()[0].pictures)
    expect(image(page, ZOOM), np.where(np.arange(W)[:, None] < W // 2, a, b))
    set_slider(page, "wipe", 100)
    expect(image(page, ZOOM), a)
    set_slider(page, "wipe", 0)
    expect(image(page, ZOOM), b)
    set_slider(page, "wipe", 25)
    expect(image(page, ZOOM), np.where(np.arange(W)[:, None] < W // 4, a, b))


@pytest.mark.parametrize(("stops", "text"), [(-3.5, "−3.5 EV"), (2.1, "+2.1 EV"), (8, "+8.0 EV")])
def test_exposure_multiplies_light(page: Page, show: Open, stops: float, text: str) -> None:
    show(page)
    set_slider(page, "wipe", 0)
    set_slider(page, "exposure", stops)
    expect(image(page, ZOOM), srgb_encode(light_of(crops()[0].pictures[1]) * 2.0**stops))
    assert page.inner_text("[data-exposure-text]") == text
    page.dblclick("[data-exposure]", position={"x": 3, "y": 5})
    expect(image(page, ZOOM), srgb_encode(light_of(crops()[0].pictures[1])))
    assert page.inner_text("[data-exposure-text]") == "+0.0 EV"


def test_stretching_goes_around_the_median_and_then_around_the_pixel_that_was_clicked(page: Page, show: Open) -> None:
    show(page)
    lights = [light_of(picture) for picture in crops()[0].pictures]
    set_slider(page, "wipe", 0)
    set_slider(page, "exposure", -1)
    set_slider(page, "stretch", 3)
    a, b = (srgb_encode(light / 2) for light in lights)
    median = np.sort(a.reshape(-1, 3), axis=0)[H * W // 2]
    expect(image(page, ZOOM), (b - median) * 8 + 0.5)
    assert page.inner_text("[data-stretch-text]") == "× 8 around the median of A"
    page.locator("canvas").click(position={"x": 7.5 * ZOOM, "y": 11.5 * ZOOM})
    expect(image(page, ZOOM), (b - a[11, 7]) * 8 + 0.5)
    assert page.inner_text("[data-stretch-text]") == f"× 8 around {X + 7}, {Y + 11}"
    set_slider(page, "stretch", 6)
    expect(image(page, ZOOM), (b - a[11, 7]) * 64 + 0.5)
    set_slider(page, "stretch", 0)
    expect(image(page, ZOOM), b)


def test_differences_in_stops_and_on_the_display(page: Page, show: Open) -> None:
    codes = source_codes()
    light = result_light(codes)
    codes[1], light[1] = 1, 0  # black counts as 2^-12
    pictures = CodePicture("source", codes, LIGHT), HalfPicture("result", light)
    show(page, [Crop(1, "flicker", X, Y, pictures)])
    a, b = (light_of(picture) for picture in pictures)
    page.select_option("[data-mode]", "stops")
    set_slider(page, "stretch", 1)
    floor = 2.0**-12
    stops = np.abs(np.log2(np.maximum(a, floor)) - np.log2(np.maximum(b, floor)))
    expect(image(page, ZOOM), stops * 2)
    page.select_option("[data-mode]", "display")
    set_slider(page, "exposure", -2)
    expect(image(page, ZOOM), np.abs(srgb_encode(a / 4) - srgb_encode(b / 4)) * 2)
    assert page.locator("[data-wipe]").is_disabled()


def test_other_pictures_and_the_same_one_twice(page: Page, show: Open) -> None:
    codes = source_codes()
    truth = HalfPicture("truth", result_light(codes, seed=9))
    pictures = (truth, HalfPicture("result", result_light(codes)), CodePicture("source", codes, LIGHT))
    show(page, [Crop(7, "banding", X, Y, pictures)])
    settle(page)
    assert page.input_value("[data-a]") == "source"
    assert page.input_value("[data-b]") == "result"
    page.select_option("[data-b]", "truth")
    set_slider(page, "wipe", 0)
    expect(image(page, ZOOM), srgb_encode(light_of(truth)))
    page.locator("canvas").click(position={"x": 7.5 * ZOOM, "y": 11.5 * ZOOM})
    page.select_option("[data-a]", "truth")
    set_slider(page, "stretch", 5)
    display = srgb_encode(light_of(truth))
    expect(image(page, ZOOM), (display - display[11, 7]) * 32 + 0.5)  # the pivot is a pixel of A
    page.select_option("[data-mode]", "display")
    assert (image(page, ZOOM) == 0).all()


def test_every_half_arrives_bit_for_bit(page: Page, show: Open) -> None:
    bits = np.zeros(100 * 219 * 3, dtype=np.uint16)
    bits[:65536] = np.random.default_rng(2).permutation(65536)
    light = bits.view(np.float16).reshape(100, 219, 3)
    page.add_init_script(SPY)
    show(page, [Crop(1, "maximum", 0, 0, (HalfPicture("result", light),))])
    settle(page)
    width, height, uploaded = page.evaluate("window.uploads[0]")
    assert (width, height) == (219, 100)
    got = np.array(uploaded, dtype=np.uint32).view(np.float32).reshape(100, 219, 3)
    assert np.array_equal(np.isnan(got), np.isnan(light))
    known = ~np.isnan(light)
    assert np.array_equal(got[known].view(np.uint32), light[known].astype(np.float32).view(np.uint32))


def test_16_bit_codes_and_their_curve_arrive_bit_for_bit(page: Page, show: Open) -> None:
    codes, light = source_codes(levels=65536), srgb_light(65536) - np.float32(0.01)
    page.add_init_script(SPY)
    show(page, [Crop(1, "banding", X, Y, (CodePicture("source", codes, light),))])
    expect(image(page, ZOOM), srgb_encode(light[codes]))
    got = np.array(page.evaluate("window.uploads[0]")[2], dtype=np.uint32)
    assert np.array_equal(got, light[codes].reshape(-1).view(np.uint32))
    page.locator("canvas").hover(position={"x": 1, "y": 1})
    assert rows(page)["A source / code"] == ["0", "65535", "21845"]


def test_other_primaries_go_through_the_matrix(page: Page, show: Open) -> None:
    matrix = ((1.6, -0.4, -0.2), (-0.1, 1.2, -0.1), (0.0, -0.1, 1.1))
    assert matrix != IDENTITY
    picture = CodePicture("source", source_codes(), LIGHT, matrix)
    page.add_init_script(SPY)
    show(page, [Crop(1, "banding", X, Y, (picture,))])
    expect(image(page, ZOOM), srgb_encode(light_of(picture)))
    got = np.array(page.evaluate("window.uploads[0]")[2], dtype=np.uint32).view(np.float32)
    assert np.allclose(got, light_of(picture).reshape(-1), rtol=0, atol=1e-7)


def test_the_probe_reads_codes_light_and_stops_of_both_pictures(page: Page, show: Open) -> None:
    one = crops()[0]
    codes, light = source_codes(seed=1012), result_light(source_codes(seed=1012))
    light[4, 9] = 4.0, 0.25, 1.0
    light[5, 9] = -0.5, 0.0, np.inf
    codes[4, 9] = 255, 128, 0
    pictures = CodePicture("source", codes, LIGHT), HalfPicture("result", light)
    show(page, [Crop(one.frame, one.why, X, Y, pictures)])
    settle(page)
    assert "Point at a pixel" in page.inner_text("[data-probe]")
    page.locator("canvas").hover(position={"x": 9.5 * ZOOM, "y": 4.5 * ZOOM})
    assert rows(page) == {
        "A source / code": ["255", "128", "0"],
        "A source / linear": ["1.0000", "0.21586", "0"],
        "A source / stops": ["+0.00", "−2.21", "–"],
        "B result / linear": ["4.0000", "0.25000", "1.0000"],
        "B result / stops": ["+2.00", "−2.00", "+0.00"],
        "B over A / stops": ["+2.0000", "+0.2118", "–"],
    }
    assert page.inner_text("[data-probe] caption") == f"Pixel {X + 9}, {Y + 4} of the frame"
    assert "diffuse white, 1.0" in page.inner_text("[data-probe]")
    page.locator("canvas").hover(position={"x": 9.5 * ZOOM, "y": 5.5 * ZOOM})
    assert rows(page)["B result / linear"] == ["−0.50000", "0", "inf"]
    assert rows(page)["B result / stops"] == ["–", "–", "–"]
    assert page.get_attribute("[data-probe]", "aria-live") == "polite"


def test_what_is_not_a_number_is_magenta(page: Page, show: Open) -> None:
    light = np.full((H, W, 3), 0.5, dtype=np.float16)
    light[2, 3, 1] = np.nan
    show(page, [Crop(1, "not finite", X, Y, (HalfPicture("result", light),))])
    shown = image(page, ZOOM)
    assert shown[2, 3].tolist() == [255, 0, 255]
    assert ((shown == [255, 0, 255]).all(axis=-1)).sum() == 1
    page.locator("canvas").hover(position={"x": 3.5 * ZOOM, "y": 2.5 * ZOOM})
    assert rows(page)["A result / linear"] == ["0.50000", "NaN", "0.50000"]


def test_a_frame_is_chosen_by_the_event_and_by_the_list(page: Page, show: Open) -> None:
    show(page)
    settle(page)
    first, second = (srgb_encode(light_of(one.pictures[1])) for one in crops())
    assert page.locator("[data-frame] option").all_inner_texts() == ["1012 flicker", "1040 flicker"]
    set_slider(page, "wipe", 0)
    page.evaluate(CHOOSE_FRAME, 1040)
    page.wait_for_function("() => document.querySelector('[data-where]').textContent.includes('1040')")
    expect(image(page, ZOOM), second)
    assert page.locator("[data-frame] option:checked").inner_text() == "1040 flicker"
    page.evaluate(CHOOSE_FRAME, 1041)  # of which there is no crop
    page.evaluate("document.dispatchEvent(new CustomEvent('seqhdr:frame'))")
    expect(image(page, ZOOM), second)
    page.select_option("[data-frame]", index=0)
    page.wait_for_function("() => document.querySelector('[data-where]').textContent.includes('1012')")
    expect(image(page, ZOOM), first)
    assert page.inner_text("[data-where]") == f"Frame 1012, flicker: {W}×{H} pixels at {X}, {Y} of 640×360"


def test_of_frames_chosen_in_a_row_the_last_is_shown_even_if_another_takes_longer(page: Page, show: Open) -> None:
    page.add_init_script(SLOW)
    show(page)
    settle(page)
    page.evaluate(f"window.delays_ms = [200]; for (const frame of [1040, 1012]) ({CHOOSE_FRAME})(frame)")
    page.wait_for_timeout(400)
    set_slider(page, "wipe", 0)
    expect(image(page, ZOOM), srgb_encode(light_of(crops()[0].pictures[1])))


def test_hostile_names_stay_text(page: Page, show: Open) -> None:
    show(page, crops(names=(HOSTILE, "<b>result</b>"), why=HOSTILE))
    settle(page)
    page.locator("canvas").hover(position={"x": 5, "y": 5})
    settle(page)
    assert page.locator("img, b").count() == 0
    assert page.text_content("[data-tag-a]") == f"A {HOSTILE}"
    assert page.text_content("[data-tag-b]") == "B <b>result</b>"
    assert page.text_content("[data-probe] tbody.viewer-side-a th[scope=rowgroup]") == f"A {HOSTILE}"
    assert HOSTILE in (page.text_content("[data-where]") or "")
    assert page.input_value("[data-a]") == HOSTILE


def test_everything_by_keyboard(page: Page, show: Open) -> None:
    show(page)
    settle(page)
    a, b = (srgb_encode(light_of(picture)) for picture in crops()[0].pictures)
    reached = []
    for _ in range(9):
        page.keyboard.press("Tab")
        reached.append(page.evaluate("Object.keys(document.activeElement.dataset)[0]"))
    assert reached == ["frame", "a", "b", "mode", "canvas", "wipe", "exposure", "stretch", "zoom"]

    page.focus("[data-exposure]")
    for _ in range(10):
        page.keyboard.press("ArrowRight")
    page.keyboard.press("b")
    expect(image(page, ZOOM), srgb_encode(2 * light_of(crops()[0].pictures[1])))
    page.keyboard.press("0")
    expect(image(page, ZOOM), b)

    page.focus("canvas")
    page.keyboard.press("Shift+A")
    expect(image(page, ZOOM), a)
    page.keyboard.press("x")
    expect(image(page, ZOOM), b)
    page.keyboard.press("x")
    expect(image(page, ZOOM), a)
    page.keyboard.press("w")
    assert page.input_value("[data-wipe]") == "50"
    page.keyboard.press("d")
    assert page.input_value("[data-mode]") == "stops"
    page.keyboard.press("d")
    page.keyboard.press("d")
    assert page.input_value("[data-mode]") == "picture"

    page.keyboard.press("Shift+ArrowRight")
    settle(page)
    assert page.inner_text("[data-probe] caption") == f"Pixel {X + W // 2}, {Y + H // 2} of the frame"
    page.keyboard.press("Shift+ArrowRight")
    page.keyboard.press("Shift+ArrowUp")
    codes = source_codes(seed=1012)[H // 2 - 1, W // 2 + 1]
    assert rows(page)["A source / code"] == [str(code) for code in codes]
    page.keyboard.press("Enter")
    set_slider(page, "stretch", 2)
    page.keyboard.press("b")
    expect(image(page, ZOOM), (b - a[H // 2 - 1, W // 2 + 1]) * 4 + 0.5)


def test_keys_elsewhere_and_with_modifiers_are_left_alone(page: Page, show: Open) -> None:
    show(page)
    settle(page)
    page.evaluate("window.taken = []; addEventListener('keydown', e => window.taken.push(e.defaultPrevented))")
    page.keyboard.press("a")
    page.focus("canvas")
    page.keyboard.press("Control+b")
    page.keyboard.press("q")
    page.focus("[data-frame]")
    page.keyboard.press("b")
    assert page.evaluate("window.taken.filter(Boolean).length") == 0
    assert page.input_value("[data-wipe]") == "50"
    page.focus("canvas")
    page.keyboard.press("b")
    assert page.evaluate("window.taken.at(-1)")


def test_a_small_picture_stays_in_the_middle(page: Page, show: Open) -> None:
    show(page)
    settle(page)
    set_slider(page, "wipe", 0)
    set_slider(page, "zoom", 4)
    b = srgb_encode(light_of(crops()[0].pictures[1]))
    shown = pixels(page)
    assert shown.shape == (H * ZOOM, W * ZOOM, 4)
    left, top = (W * ZOOM - W * 4) // 2, (H * ZOOM - H * 4) // 2
    inside = shown[top : top + 4 * H, left : left + 4 * W]
    expect(inside[..., :3].astype(int), b.repeat(4, 0).repeat(4, 1))
    assert (inside[..., 3] == 255).all()
    assert (shown[..., 3] == 255).sum() == 16 * H * W
    page.focus("[data-zoom]")
    page.keyboard.press("0")
    expect(image(page, ZOOM), b)


def test_an_arrow_key_pans_down(page: Page, show: Open) -> None:
    show(page)
    settle(page)
    set_slider(page, "wipe", 0)
    set_slider(page, "zoom", 16)
    before = pixels(page)
    page.focus("canvas")
    page.keyboard.press("ArrowDown")
    down = int(len(before) / 8)  # an eighth, in whole pixels
    assert np.array_equal(pixels(page)[:-down], before[down:])


def test_a_crop_larger_than_the_page_is_panned(new_page: Callable[..., Page], show: Open) -> None:
    page = new_page(viewport={"width": 500, "height": 400})
    light = np.random.default_rng(4).random((100, 640, 3)).astype(np.float16)
    show(page, [Crop(1, "flicker", 0, 0, (HalfPicture("result", light),))])
    display = srgb_encode(light)
    shown = pixels(page)
    height, width, _ = shown.shape
    assert (height, width) == (100, 452)

    def at(left: int) -> None:
        expect(pixels(page)[..., :3].astype(int), display[:, left : left + width])

    middle = (640 - width) // 2
    at(middle)
    page.focus("canvas")
    page.keyboard.press("ArrowRight")
    settle(page)
    at(middle + width // 8)
    for _ in range(9):
        page.keyboard.press("ArrowRight")
    at(640 - width)
    box = page.locator("canvas").bounding_box()
    assert box is not None
    # From a place beside the handle of the wipe.
    page.mouse.move(box["x"] + 100, box["y"] + 50)
    page.mouse.down()
    page.mouse.move(box["x"] + 140, box["y"] + 70, steps=4)
    page.mouse.up()
    at(640 - width - 40)
    page.mouse.move(box["x"] + 10, box["y"] + 10)
    set_slider(page, "stretch", 1)
    settle(page)
    assert page.inner_text("[data-probe] caption") == f"Pixel {640 - width - 30}, 10 of the frame"
    assert page.inner_text("[data-stretch-text]") == "× 2 around the median of A"  # a drag is no click


def test_the_wheel_zooms_about_the_mouse_and_otherwise_the_page_scrolls(page: Page, show: Open) -> None:
    show(page)
    settle(page)
    set_slider(page, "zoom", 4)
    page.locator("canvas").hover(position={"x": 200, "y": 100})
    page.mouse.wheel(0, 120)
    page.wait_for_function("() => scrollY === 120")
    assert page.input_value("[data-zoom]") == "4"
    page.evaluate("scrollTo(0, 0)")
    page.focus("canvas")
    set_slider(page, "zoom", 14)
    set_slider(page, "zoom", 16)
    page.locator("canvas").hover(position={"x": 1, "y": 1})
    page.mouse.wheel(0, 120)
    page.wait_for_function("() => document.querySelector('[data-zoom]').value === '15'")
    assert page.evaluate("scrollY") == 0
    page.mouse.wheel(0, -120)
    page.wait_for_function("() => document.querySelector('[data-zoom]').value === '16'")
    assert page.inner_text("[data-zoom-text]") == "16 ×"


def test_the_point_under_the_mouse_stays_while_zooming(new_page: Callable[..., Page], show: Open) -> None:
    page = new_page(viewport={"width": 500, "height": 400})
    light = np.random.default_rng(4).random((100, 640, 3)).astype(np.float16)
    show(page, [Crop(1, "flicker", 0, 0, (HalfPicture("result", light),))])
    settle(page)
    page.focus("canvas")
    spot = {"x": 300, "y": 40}
    page.locator("canvas").hover(position=spot)
    settle(page)
    before = page.inner_text("[data-probe] caption")
    for zoom in range(2, 9):
        page.mouse.wheel(0, -100)
        page.wait_for_function(f"() => document.querySelector('[data-zoom]').value === '{zoom}'")
    page.locator("canvas").hover(position={"x": 301, "y": 41})
    settle(page)
    assert page.inner_text("[data-probe] caption") == before


def test_keys_zoom_about_the_probe(new_page: Callable[..., Page], show: Open) -> None:
    page = new_page(viewport={"width": 500, "height": 400})
    light = np.random.default_rng(4).random((100, 640, 3)).astype(np.float16)
    show(page, [Crop(1, "flicker", 0, 0, (HalfPicture("result", light),))])
    settle(page)
    page.focus("canvas")
    for _ in range(3):
        page.keyboard.press("Shift+ArrowRight")
    settle(page)
    caption = page.inner_text("[data-probe] caption")
    x, y = (int(number) for number in caption.removeprefix("Pixel ").removesuffix(" of the frame").split(", "))
    left = (640 - 452) // 2
    for _ in range(5):
        page.keyboard.press("+")
    shown = pixels(page)[y, x - left, :3]
    expect(shown.astype(int), srgb_encode(light[y, x]))
    assert page.inner_text("[data-zoom-text]") == "6 ×"
    page.keyboard.press("-")
    settle(page)
    assert page.inner_text("[data-zoom-text]") == "5 ×"


def test_the_handle_drags_the_wipe(page: Page, show: Open) -> None:
    show(page)
    settle(page)
    box = page.locator("canvas").bounding_box()
    assert box is not None
    page.mouse.move(box["x"] + box["width"] / 2, box["y"] + 30)
    page.mouse.down()
    page.mouse.move(box["x"] + box["width"] * 0.75, box["y"] + 30, steps=3)
    page.mouse.up()
    a, b = (srgb_encode(light_of(picture)) for picture in crops()[0].pictures)
    expect(image(page, ZOOM), np.where(np.arange(W)[:, None] < W * 3 // 4, a, b))


@pytest.mark.parametrize(("ratio", "margin_px"), [(1.5, 24.3), (2.75, 24.6)])
def test_a_pixel_is_a_whole_number_of_device_pixels(
    new_page: Callable[..., Page], show: Open, ratio: float, margin_px: float
) -> None:
    # Not Playwright's device_scale_factor, which lays out in CSS pixels and scales the painted page.
    page = new_page(f"--force-device-scale-factor={ratio}", "--window-size=501,600", no_viewport=True)
    page.add_init_script(
        f"addEventListener('DOMContentLoaded', () => document.body.style.margin = '{margin_px}px', {{once: true}})"
    )
    show(page)
    settle(page)
    set_slider(page, "wipe", 100)
    settle(page)
    page.add_style_tag(content=".viewer-tag, .viewer-wipe { display: none !important; }")
    zoom = int(page.input_value("[data-zoom]")) * max(1, int(ratio + 0.5))
    photo = np.array(Image.open(io.BytesIO(page.screenshot())).convert("RGB")).astype(int)
    left, top = page.eval_on_selector(
        "canvas", "c => [c.getBoundingClientRect().left, c.getBoundingClientRect().top].map(v => v * devicePixelRatio)"
    )
    shown = photo[round(top) : round(top) + H * zoom, round(left) : round(left) + W * zoom]
    expect(shown, srgb_encode(light_of(crops()[0].pictures[0])).repeat(zoom, 0).repeat(zoom, 1))


def test_a_lost_context_comes_back(page: Page, show: Open) -> None:
    show(page)
    before = image(page, ZOOM)
    page.evaluate(
        """() => { window.loser = document.querySelector("canvas").getContext("webgl2")
            .getExtension("WEBGL_lose_context"); window.loser.loseContext(); }"""
    )
    page.wait_for_selector("canvas[data-ready=false]", state="attached")
    page.evaluate("window.loser.restoreContext()")
    assert np.array_equal(image(page, ZOOM), before)


@pytest.mark.parametrize(
    ("script", "payload", "sentence"),
    [
        ("HTMLCanvasElement.prototype.getContext = () => null", None, "they need WebGL2"),
        ("delete window.DecompressionStream", None, "they need WebGL2"),
        ("", {"crops": [], "curves": [], "width": 1, "height": 1}, "no crops"),
        ("", {"nothing": 1}, "damaged"),
    ],
)
def test_a_sentence_where_pictures_cannot_be_shown(
    page: Page, show: Open, script: str, payload: dict[str, Any] | None, sentence: str
) -> None:
    page.add_init_script(script)
    show(page, payload=payload)
    page.evaluate(CHOOSE_FRAME, 1040)
    assert sentence in page.inner_text(".viewer")
    assert not page.locator("canvas").is_visible()


def test_damaged_planes_are_told(page: Page, show: Open) -> None:
    packed = json.loads(json.dumps(pack_viewer(crops(), width=FRAME_WIDTH, height=FRAME_HEIGHT)))
    planes = packed["crops"][0]["pictures"][0]["planes"]
    packed["crops"][0]["pictures"][0]["planes"] = planes[: len(planes) // 8 * 4]
    show(page, payload=packed)
    page.wait_for_selector("[data-sorry]:visible")
    assert "damaged" in page.inner_text("[data-sorry]")


def test_on_paper_there_are_no_controls(page: Page, show: Open) -> None:
    show(page)
    settle(page)
    page.emulate_media(media="print")
    assert page.locator("canvas").is_visible()
    for hidden in (".viewer-bar", ".viewer-side", ".viewer-help"):
        assert not page.locator(hidden).is_visible()


def test_trouble_in_a_page_is_noticed(page: Page, troubles: list[str]) -> None:
    page.set_content("<script>console.error('a'); throw new Error('b')</script><img src='http://seqhdr.invalid/c.png'>")
    page.wait_for_timeout(50)
    told = "\n".join(troubles)
    troubles.clear()
    assert "console: a" in told
    assert "page error: b" in told
    assert "http://seqhdr.invalid/c.png" in told
