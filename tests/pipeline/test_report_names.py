"""Names of files are data: they become text on pages, indexes and comparisons, and never markup."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

import pytest

import seqhdr
from tests.pipeline.report_shots import Page, hills, strict_json, write_exrs

HOSTILE = (
    "<img src=x onerror=alert(1)>",
    '"quoted"&amp;\'s',
    "..x",
    "two words",
    "%20",
    "ünï 漢字",
    "new\nline",
    "javascript:x",
    "x<!--<script>y",
    "[red]x",
)


@pytest.fixture(scope="module")
def hostile(tmp_path_factory: pytest.TempPathFactory) -> tuple[seqhdr.ReportResult, Path]:
    """Reports of the same frames under names that are markup, and a harmless one first."""
    folder = tmp_path_factory.mktemp("hostile")
    attributes = {"Software": "<script>alert(2)</script>"}
    patterns = [
        write_exrs(folder, range(1, 3), lambda n: hills((16, 16)), name=f"{name}_", attributes=attributes)
        for name in ("plain", *HOSTILE)
    ]
    return seqhdr.report(patterns), folder


def test_a_name_becomes_text_and_never_an_element(hostile: tuple[seqhdr.ReportResult, Path]) -> None:
    result, folder = hostile
    plain = Page(result.pages[0])
    assert len(result.pages) == len(HOSTILE) + 1
    for name, path, data in zip(HOSTILE, result.pages[1:], result.data[1:], strict=True):
        page = Page(path)
        assert page.elements == plain.elements, name
        assert page.text("h1") == name
        assert page.text("title").startswith(name)
        assert f"{folder}/{name}_%04d.exr" in page.text("td")
        assert "<script>alert(2)</script>" in page.text("td")
        assert page.sources == plain.sources
        report = strict_json(data)
        assert report["name"] == name
        assert report["result"]["made_by"] == "<script>alert(2)</script>"


def test_the_index_links_to_every_name(hostile: tuple[seqhdr.ReportResult, Path]) -> None:
    result, folder = hostile
    assert result.index is not None
    page = Page(result.index)
    assert not any(tag == "script" for tag, _ in page.elements)
    assert not any(name.startswith("on") for _, names in page.elements for name in names)
    assert all(source.startswith("data:image/jpeg;base64,") for source in page.sources)
    assert len(page.sources) == len(result.pages)
    linked = {(folder / unquote(urlsplit(href).path)).resolve() for href in page.hrefs if not href.startswith("#")}
    assert linked == {path.resolve() for path in result.pages}
    for name in HOSTILE:
        assert name in page.texts["a"]


def test_a_comparison_takes_names_as_text(hostile: tuple[seqhdr.ReportResult, Path]) -> None:
    _, folder = hostile
    harmless = Page(seqhdr.report([folder / "plain_%04d.exr"] * 2, compare=True).pages[0])
    result = seqhdr.report([folder / f"{name}_%04d.exr" for name in HOSTILE], compare=True)
    page = Page(result.pages[0])
    assert [report["name"] for report in result.reports] == list(HOSTILE)
    assert not any(name.startswith("on") for _, names in page.elements for name in names)
    assert all(source.startswith("data:image/") for source in page.sources)
    scripts, expected = ([a for tag, a in p.attributes if tag == "script"] for p in (page, harmless))
    assert scripts == expected
    (viewer,) = (json.loads(text) for text in page.texts["script"] if text.lstrip().startswith("{"))
    readable = "".join("".join(texts) for tag, texts in page.texts.items() if tag not in ("script", "style"))
    for name in HOSTILE:
        assert name in readable
        assert name in _strings(viewer)


def _strings(tree: Any) -> list[str]:
    if isinstance(tree, str):
        return [tree]
    values = tree.values() if isinstance(tree, dict) else tree if isinstance(tree, list) else ()
    return [text for value in values for text in _strings(value)]
