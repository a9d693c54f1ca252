"""Pages as `seqhdr report` writes them, in a real browser: by mouse, by keys, on paper and without scripts."""

from __future__ import annotations

import base64
import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from seqhdr.api_report import report
from seqhdr.media.exr import write_exr
from tests.conftest import picture, write_frame

if TYPE_CHECKING:
    from playwright.sync_api import Page

Array = np.ndarray[Any, np.dtype[Any]]

SIZE = W, H = 160, 96
FRAMES = range(1001, 1009)
FLICKERING = 1005
HOSTILE = "<img src=x onerror=alert(1)>&amp;\"'"

READ = """canvas => {
    const gl = canvas.getContext("webgl2"), [w, h] = [canvas.width, canvas.height];
    const bytes = new Uint8Array(4 * w * h);
    gl.readPixels(0, 0, w, h, gl.RGBA, gl.UNSIGNED_BYTE, bytes);
    let text = "";
    for (let i = 0; i < bytes.length; i += 8192) text += String.fromCharCode(...bytes.subarray(i, i + 8192));
    return [w, h, btoa(text)];
}"""
DRAWN = "() => new Promise(done => requestAnimationFrame(() => requestAnimationFrame(done)))"
# Contrast by WCAG 2.1 of every element with text of its own, against the first background behind it that is no hole.
CONTRASTS = """() => {
    const rgba = (text) => {
        const numbers = text.match(/[\\d.]+/g).map(Number);
        return numbers.length < 4 ? [...numbers, 1] : numbers;
    };
    const light = ([r, g, b]) => {
        const [x, y, z] = [r, g, b].map(v => v / 255).map(v => v <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4);
        return 0.2126 * x + 0.7152 * y + 0.0722 * z;
    };
    const found = [];
    for (const element of document.body.querySelectorAll("*")) {
        const own = [...element.childNodes].some(node => node.nodeType === 3 && node.data.trim());
        if (!own || !element.checkVisibility() || /^(script|style|title|desc)$/i.test(element.tagName)) continue;
        const drawn = element.namespaceURI.endsWith("svg");
        const ink = rgba(getComputedStyle(element)[drawn ? "fill" : "color"]);
        let behind = element;
        while (behind && rgba(getComputedStyle(behind).backgroundColor)[3] === 0) behind = behind.parentElement;
        const paper = behind ? rgba(getComputedStyle(behind).backgroundColor) : [255, 255, 255, 1];
        if (paper[3] < 1) continue; // over a picture
        const [a, b] = [light(ink), light(paper)].sort((one, other) => other - one);
        found.push([(a + 0.05) / (b + 0.05), element.outerHTML.slice(0, 120)]);
    }
    return found;
}"""


def srgb_light(codes: Array) -> Array:
    v = codes / 255
    return np.where(v <= 0.04045, v / 12.92, ((v + 0.055) / 1.055) ** 2.4)


def srgb_display(light: Array) -> Array:
    v = np.clip(light, 0, 1)
    return np.where(v <= 0.0031308, 12.92 * v, 1.055 * v ** (1 / 2.4) - 0.055)


def codes_of(frame: int) -> Array:
    return picture(frame - FRAMES[0], size=SIZE)


def result_of(frame: int) -> Array:
    """The source's light, highlights brighter; one frame is brighter altogether."""
    light = srgb_light(codes_of(frame))
    light[codes_of(frame) == 255] *= 3
    return (light * (1.06 if frame == FLICKERING else 1)).astype(np.float16)


def truth_of(frame: int) -> Array:
    return (srgb_light(codes_of(frame)) * 1.001).astype(np.float32)


@dataclass(frozen=True)
class Pages:
    """Pages made of one shot, and what was measured of it; ``alone`` has no source, and a hostile name."""

    data: dict[str, Any]
    report: Path
    compare: Path
    index: Path
    alone: Path


@pytest.fixture(scope="module")
def pages(tmp_path_factory: pytest.TempPathFactory) -> Pages:
    root = tmp_path_factory.mktemp("shot")
    for frame in FRAMES:
        write_frame(root / f"plate_{frame:04d}.png", codes_of(frame))
        write_exr(root / f"comp_{frame:04d}.exr", {"RGB": result_of(frame)})
        write_exr(root / f"ideal_{frame:04d}.exr", {"RGB": truth_of(frame)})
        if frame in FRAMES[:3]:
            write_frame(root / f"{HOSTILE}_{frame:04d}.png", codes_of(frame))
    result, source, truth = (str(root / name) for name in ("comp_%04d.exr", "plate_%04d.png", "ideal_%04d.exr"))
    several = report([result, truth], source=[source, source], output=root / "several shots")
    compared = report([result, truth], source=source, truth=truth, compare=True, output=root / "compare")
    alone = report(str(root / f"{HOSTILE}_%04d.png"), output=root / "alone")
    assert several.index is not None
    return Pages(several.reports[0], several.pages[0], compared.pages[0], several.index, alone.pages[0])


def settle(page: Page) -> None:
    page.wait_for_selector("canvas[data-ready=true]", state="attached")
    page.evaluate(DRAWN)


def image(page: Page) -> Array:
    """(H, W, 3) of 0..255 in the viewer, each pixel of which must be one square of one colour."""
    settle(page)
    width, height, text = page.eval_on_selector("canvas", READ)
    shown = np.frombuffer(base64.b64decode(text), np.uint8).reshape(height, width, 4)[::-1]
    zoom = height // H
    assert shown.shape == (H * zoom, W * zoom, 4)
    squares = shown.reshape(H, zoom, W, zoom, 4)
    assert (squares == squares[:, :1, :, :1]).all()
    return squares[:, 0, :, 0, :3].astype(int)


def expect(shown: Array, display: Array) -> None:
    # Half a code of rounding, and a little for the graphics card's pow.
    assert np.abs(shown - 255 * np.clip(display, 0, 1)).max() <= 0.75


def shown_frame(page: Page) -> int:
    return int(page.input_value("[data-frame]:is(select)").split(" ")[0])


def wait_for_frame(page: Page, frame: int) -> None:
    page.wait_for_function(f"() => document.querySelector('[data-where]').textContent.startsWith('Frame {frame},')")


@pytest.fixture
def opened(page: Page, pages: Pages) -> Page:
    """The report of the flickering shot, its viewer drawn."""
    page.goto(pages.report.as_uri())
    settle(page)
    return page


def test_the_report_opens_from_disk_and_says_what_is_wrong(opened: Page, pages: Pages) -> None:
    assert opened.inner_text("h1") == "comp"
    assert opened.inner_text(".verdict .state") == "Look at it"
    assert pages.data["verdict"]["sentence"] in opened.inner_text(".verdict")
    check = opened.locator(".check.bad").first
    assert check.locator("h3").inner_text() == "Flicker"
    assert "above the source, at worst" in check.inner_text()
    assert str(FLICKERING) in check.locator("a").all_inner_texts()
    assert shown_frame(opened) == pages.data["worst"][0]["frame"]


def test_one_screen_is_enough_to_see_whether_it_is_good(new_page: Callable[..., Page], pages: Pages) -> None:
    page = new_page(viewport={"width": 1400, "height": 900})
    page.goto(pages.report.as_uri())
    for seen in ("h1", ".verdict", ".checks", "#flicker svg.plot"):
        box = page.locator(seen).bounding_box()
        assert box is not None
        assert box["y"] + box["height"] < 900


def test_nothing_but_the_page_s_own_scripts_runs_and_nothing_is_fetched(opened: Page, troubles: list[str]) -> None:
    failed = []
    opened.on("requestfailed", lambda asked: failed.append((asked.url, asked.failure)))
    opened.evaluate(
        """() => {
            document.body.insertAdjacentHTML("beforeend", `<img id=o src="https://seqhdr.invalid/a.png">
                <img src="data:image/gif;base64,R0lGODlhAQABAAAAACw=" onload="window.ran = 1" onerror="window.ran = 1">
                <button id=b onclick="window.ran = 1">b</button>`);
            const script = document.createElement("script");
            script.textContent = "window.ran = 1";
            document.body.append(script);
            document.getElementById("b").click();
        }"""
    )
    opened.wait_for_timeout(100)
    assert opened.evaluate("window.ran") is None
    assert opened.evaluate("fetch('https://seqhdr.invalid/').then(() => 'fetched', () => 'refused')") == "refused"
    assert opened.eval_on_selector("#o", "image => image.naturalWidth") == 0
    refused = [trouble for trouble in troubles if "Content Security Policy" in trouble]
    assert len(refused) >= 4
    assert [trouble for trouble in troubles if trouble not in refused] == [url for url, _ in failed]
    assert failed == [("https://seqhdr.invalid/a.png", "csp")]
    troubles.clear()


def test_exposure_and_wipe_by_keyboard(opened: Page) -> None:
    frame = shown_frame(opened)
    source, result = srgb_light(codes_of(frame)), result_of(frame).astype(np.float64)
    middle = np.arange(W)[:, None] < W // 2
    expect(image(opened), srgb_display(np.where(middle, source, result)))
    opened.focus("[data-exposure]")
    for _ in range(10):
        opened.keyboard.press("ArrowLeft")
    expect(image(opened), srgb_display(np.where(middle, source, result) / 2))
    opened.focus("[data-wipe]")
    opened.keyboard.press("Home")
    expect(image(opened), srgb_display(result / 2))
    opened.keyboard.press("End")
    expect(image(opened), srgb_display(source / 2))


def test_the_wipe_is_dragged(opened: Page) -> None:
    box = opened.locator("canvas").bounding_box()
    assert box is not None
    opened.mouse.move(box["x"] + box["width"] / 2, box["y"] + 30)
    opened.mouse.down()
    opened.mouse.move(box["x"] + box["width"] / 4, box["y"] + 30, steps=3)
    opened.mouse.up()
    frame = shown_frame(opened)
    left = np.arange(W)[:, None] < W // 4
    expect(image(opened), srgb_display(np.where(left, srgb_light(codes_of(frame)), result_of(frame).astype(float))))


def test_levels_are_stretched_around_the_pixel_that_is_clicked(opened: Page) -> None:
    opened.focus("[data-wipe]")
    opened.keyboard.press("End")
    zoom = int(opened.input_value("[data-zoom]"))
    opened.locator("canvas").click(position={"x": 30.5 * zoom, "y": 20.5 * zoom})
    opened.focus("[data-stretch]")
    for _ in range(8):
        opened.keyboard.press("ArrowRight")
    display = srgb_display(srgb_light(codes_of(shown_frame(opened))))
    expect(image(opened), (display - display[20, 30]) * 16 + 0.5)


def viewed_frames(page: Page) -> list[int]:
    return [int(text.split(" ")[0]) for text in page.locator("[data-frame] option").all_inner_texts()]


@pytest.mark.parametrize("way", ["mouse", "keyboard"])
@pytest.mark.parametrize("kind", ["picture", "mark"])
def test_worst_frames_and_marks_choose_the_frame_in_the_viewer(opened: Page, kind: str, way: str) -> None:
    wanted = viewed_frames(opened)[-1]
    assert wanted != shown_frame(opened)
    selector = {"picture": f".worst a[data-frame='{wanted}']", "mark": f"a.mark[data-frame='{wanted}']"}[kind]
    link = opened.locator(selector).first
    if way == "mouse":
        (link if kind == "picture" else link.locator(".reach")).click()
    else:
        for _ in range(200):
            opened.keyboard.press("Tab")
            if link.evaluate("link => link === document.activeElement"):
                break
        outline = "link => getComputedStyle(link.querySelector('.reach') ?? link)"
        ring = link.evaluate(f"link => {{ const s = ({outline})(link); return [s.outlineStyle, s.stroke]; }}")
        assert ring[0] != "none" or ring[1] != "none"
        opened.keyboard.press("Enter")
    wait_for_frame(opened, wanted)
    settle(opened)
    assert shown_frame(opened) == wanted
    assert opened.locator("#viewer, #worst").first.is_visible()


def test_a_link_into_a_report_opens_what_it_leads_to(page: Page, pages: Pages) -> None:
    row = next(f["frame"] for f in pages.data["frames"] if f["frame"] not in {w["frame"] for w in pages.data["worst"]})
    page.goto(f"{pages.report.as_uri()}#frame-{row}")
    assert page.locator(f"#frame-{row}").is_visible()
    settle(page)
    last = viewed_frames(page)[-1]
    assert shown_frame(page) != last
    page.goto("about:blank")
    page.goto(f"{pages.report.as_uri()}#frame-{last}")
    wait_for_frame(page, last)


def test_plots_read_out_the_frame_under_the_mouse_and_under_the_arrow_keys(opened: Page, pages: Pages) -> None:
    figure = opened.locator("#flicker figure")
    plot, box = figure.locator("svg.plot"), figure.locator(".readout")
    assert not box.is_visible()
    size = plot.bounding_box()
    assert size is not None
    share = (FLICKERING - FRAMES[0]) / (FRAMES[-1] - FRAMES[0])
    plot.hover(position={"x": share * size["width"] + 3, "y": 30})
    row = next(f for f in pages.data["frames"] if f["frame"] == FLICKERING)

    def text(value: float) -> str:
        return f"{value:.4f}".rstrip("0") if value < 0.1 else f"{value:.3f}".rstrip("0")

    lines = box.inner_text().split("\n")
    assert lines[0] == f"Frame {FLICKERING}"
    assert lines[1:] == [
        "result",
        f"{text(row['flicker_stops'])}\u202fstop",
        "source",
        f"{text(row['source_flicker_stops'])}\u202fstop",
    ]
    opened.mouse.move(5, 5)
    assert not box.is_visible()

    plot.focus()
    opened.keyboard.press("End")
    assert box.inner_text().startswith(f"Frame {FRAMES[-1]}")
    opened.keyboard.press("ArrowLeft")
    assert box.inner_text().startswith(f"Frame {FRAMES[-2]}")
    opened.keyboard.press("Home")
    assert box.inner_text().split("\n") == [f"Frame {FRAMES[0]}", "result", "–", "source", "–"]
    opened.keyboard.press("Escape")
    assert not box.is_visible()
    opened.keyboard.press("ArrowRight")
    opened.keyboard.press("Tab")
    assert opened.locator("a.mark").first.evaluate("mark => mark === document.activeElement")
    marked = opened.locator("a.mark").first.get_attribute("data-frame")
    assert box.inner_text().startswith(f"Frame {marked}")
    opened.focus("[data-exposure]")
    assert not box.is_visible()
    # It stays on the page, and off what it is about, wherever it is.
    for frame_share in (0, 0.49, 0.51, 1):
        plot.hover(position={"x": frame_share * (size["width"] - 1), "y": 30})
        inside = box.bounding_box()
        assert inside is not None
        assert inside["x"] >= 0
        assert inside["x"] + inside["width"] <= 1200
        at = plot.locator("line.cursor").evaluate("line => line.getBoundingClientRect().x")
        assert inside["x"] > at or inside["x"] + inside["width"] < at


def test_the_index_leads_to_the_reports(page: Page, pages: Pages) -> None:
    page.goto(pages.index.as_uri())
    assert page.locator("tbody th a").all_inner_texts()[0] == "comp"
    assert page.eval_on_selector_all("tbody img", "images => images.every(image => image.naturalWidth > 0)")
    page.locator("tbody th a").first.click()
    settle(page)
    assert page.inner_text("h1") == "comp"
    page.go_back()
    worst = page.locator("tbody tr").first.locator("td a")
    frame = pages.data["flicker"]["worst_flicker_frame"]
    assert worst.inner_text() == str(frame)
    worst.click()
    wait_for_frame(page, frame)
    settle(page)
    assert page.url.endswith(f"comp.report.html#frame-{frame}")
    assert shown_frame(page) == frame


def test_a_comparison_switches_pictures_and_has_identity_once(page: Page, pages: Pages) -> None:
    page.goto(pages.compare.as_uri())
    settle(page)
    assert page.locator("table.compare thead th").all_inner_texts() == ["comp", "ideal", "identity"]
    assert page.locator("#plots figure.main .key").all_inner_texts() == ["comp", "ideal", "identity"]
    frame = shown_frame(page)
    light = {
        "comp": result_of(frame).astype(np.float64),
        "ideal": truth_of(frame).astype(np.float16).astype(np.float64),
        "plate": srgb_light(codes_of(frame)),
    }
    assert set(page.locator("[data-a] option").all_inner_texts()) >= set(light)
    left = np.arange(W)[:, None] < W // 2
    for a, b in (("plate", "comp"), ("ideal", "plate"), ("comp", "ideal")):
        page.select_option("[data-a]", a)
        page.select_option("[data-b]", b)
        expect(image(page), srgb_display(np.where(left, light[a], light[b])))
        assert (page.inner_text("[data-tag-a]"), page.inner_text("[data-tag-b]")) == (f"A {a}", f"B {b}")


def test_a_single_picture_has_nothing_to_compare_with(page: Page, pages: Pages) -> None:
    page.goto(pages.alone.as_uri())
    expect(image(page), codes_of(shown_frame(page)) / 255)
    for gone in ("[data-a]", "[data-b]", "[data-wipe]", "[data-mode]", "[data-handle]", "[data-tag-b]"):
        assert not page.locator(gone).is_visible()
    assert page.inner_text("[data-tag-a]") == "result"
    page.locator("canvas").hover(position={"x": 5, "y": 5})
    page.evaluate(DRAWN)
    assert page.locator("[data-probe] tbody").count() == 1


@pytest.mark.parametrize("which", ["report", "compare", "index", "alone"])
def test_text_is_readable_in_light_and_dark_and_they_differ(
    new_page: Callable[..., Page], pages: Pages, which: str
) -> None:
    papers = []
    for scheme in ("light", "dark"):
        page = new_page(color_scheme=scheme)
        page.goto(getattr(pages, which).as_uri())
        if which != "index":
            settle(page)
            page.locator("canvas").hover(position={"x": 5, "y": 5})
            page.evaluate("for (const fold of document.querySelectorAll('details')) fold.open = true")
        found = page.evaluate(CONTRASTS)
        assert len(found) > 20
        assert [entry for entry in found if entry[0] < 4.5] == []
        papers.append(page.eval_on_selector("body", "body => getComputedStyle(body).backgroundColor"))
    assert papers[0] != papers[1]


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_on_paper_there_are_plots_and_pictures_but_no_controls(
    new_page: Callable[..., Page], pages: Pages, scheme: str
) -> None:
    page = new_page(color_scheme=scheme)
    page.goto(pages.report.as_uri())
    settle(page)
    page.emulate_media(media="print", color_scheme=scheme)
    for hidden in ("nav", ".viewer-bar", ".viewer-side", ".viewer-help", ".readout"):
        assert not page.locator(hidden).first.is_visible()
    for seen in ("#flicker svg.plot", "#plots svg.plot", ".worst img", "canvas", ".checks", "table.numbers"):
        assert page.locator(seen).first.is_visible()
    assert page.eval_on_selector("body", "body => getComputedStyle(body).backgroundColor") == "rgb(255, 255, 255)"
    assert [entry for entry in page.evaluate(CONTRASTS) if entry[0] < 4.5] == []
    # What is folded is unfolded while it prints.
    opened = "() => document.querySelectorAll('details[open]').length"
    page.evaluate("dispatchEvent(new Event('beforeprint'))")
    assert page.evaluate(opened) == 2
    page.evaluate("dispatchEvent(new Event('afterprint'))")
    assert page.evaluate(opened) == 0
    assert page.pdf(format="A4").startswith(b"%PDF")


def test_without_scripts_there_are_numbers_plots_and_pictures(new_page: Callable[..., Page], pages: Pages) -> None:
    page = new_page(java_script_enabled=False)
    page.goto(pages.report.as_uri())
    for seen in (
        ".verdict",
        ".check .value",
        "#flicker path.series",
        "#plots path.series",
        ".worst img",
        "table.numbers",
    ):
        assert page.locator(seen).first.is_visible()
    assert "The pictures need JavaScript" in page.inner_text("#viewer")
    assert not page.locator("canvas").is_visible()
    # The browser's own tips say what the script would have.
    assert page.locator("#flicker a.mark title").first.text_content().startswith("Frame 10")
    assert "result from" in (page.locator("#flicker path.series.result title").text_content() or "")
    page.locator("summary").last.click()
    assert page.locator(f"table.every a[data-frame='{FRAMES[0]}']").is_visible()


@pytest.mark.parametrize("which", ["report", "compare", "index", "alone"])
@pytest.mark.parametrize("width", [600, 360])
def test_a_narrow_page_is_not_wider_than_the_screen(
    new_page: Callable[..., Page], pages: Pages, which: str, width: int
) -> None:
    page = new_page(viewport={"width": width, "height": 900})
    page.goto(getattr(pages, which).as_uri())
    if which != "index":
        settle(page)
        page.evaluate("for (const fold of document.querySelectorAll('details')) fold.open = true")
    assert page.evaluate("document.documentElement.scrollWidth") <= width


def test_hostile_names_stay_text(page: Page, pages: Pages) -> None:
    page.add_init_script("window.alert = () => { window.ran = true; }")
    page.goto(pages.alone.as_uri())
    settle(page)
    assert page.inner_text("h1") == HOSTILE
    assert page.title() == f"{HOSTILE} – seqhdr report"
    page.wait_for_timeout(50)
    assert page.evaluate("window.ran") is None
    assert page.eval_on_selector_all("img", "images => images.every(image => image.src.startsWith('data:'))")


def test_the_viewer_of_a_page_holds_what_was_measured(pages: Pages) -> None:
    html = pages.report.read_text(encoding="utf-8")
    payload = json.loads(html.split('id="viewer-data">', 1)[1].split("</script>", 1)[0])
    assert (payload["width"], payload["height"]) == SIZE
    assert payload["crops"][0]["frame"] == pages.data["worst"][0]["frame"]
