"""Pages as a browser reads them: whole HTML, nothing fetched, links that lead somewhere."""

from __future__ import annotations

import base64
import hashlib
import re
from html.parser import HTMLParser

VOID = {"meta", "link", "img", "input", "br", "hr"}


class Reader(HTMLParser):
    """Keeps what tests ask for, and fails where a tag is not closed where it should be."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.tags: list[tuple[str, dict[str, str]]] = []
        self.text = ""
        self.scripts: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        names = [name for name, _ in attrs]
        assert len(names) == len(set(names)), f"{tag} has an attribute twice: {names}"
        self.tags.append((tag, {name: value or "" for name, value in attrs}))
        if tag not in VOID:
            self.open.append(tag)
        if tag == "script":
            self.scripts.append("")

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.handle_starttag(tag, attrs)
        if tag not in VOID:
            self.open.pop()

    def handle_endtag(self, tag: str) -> None:
        assert self.open, f"</{tag}> closes nothing"
        assert self.open.pop() == tag, f"</{tag}> at {self.getpos()} closes another tag"

    def handle_data(self, data: str) -> None:
        if self.open[-1:] == ["script"]:
            self.scripts[-1] += data
        elif self.open[-1:] != ["style"]:
            self.text += data

    def of(self, name: str) -> list[str]:
        return [attributes[name] for _, attributes in self.tags if name in attributes]


def read(html: str) -> Reader:
    """Parse a page and check what holds for every one."""
    assert html.lstrip().startswith("<!doctype html>")
    reader = Reader()
    reader.feed(html)
    reader.close()
    assert reader.open == []
    ids = reader.of("id")
    assert len(ids) == len(set(ids))
    assert all(uri.startswith("data:image/") for uri in reader.of("src"))
    for href in reader.of("href"):
        assert href.startswith(("#", "./", "data:,")), href
        assert not href.startswith("#") or href[1:] in ids, f"{href} leads nowhere"
    for labels in [*reader.of("aria-labelledby"), *reader.of("for")]:
        assert set(labels.split()) <= set(ids)
    assert not any(name.startswith("on") for _, attributes in reader.tags for name in attributes)
    styles = "".join(re.findall(r"<style>(.*?)</style>", html, re.S))
    assert "url(" not in styles
    assert "@import" not in styles
    without_viewer = re.sub(r"<script.*?</script>", "", html, flags=re.S)
    assert "http:" not in without_viewer
    assert "https:" not in without_viewer
    policy = next(a["content"] for t, a in reader.tags if a.get("http-equiv") == "Content-Security-Policy")
    hashes = (
        "'none'"
        if "<script>" not in html
        else " ".join(
            f"'sha256-{base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()}'"
            for script in re.findall(r"<script>(.*?)</script>", html, re.S)
        )
    )
    wanted = f"default-src 'none'; style-src 'unsafe-inline'; script-src {hashes}; img-src data: blob:"
    assert policy.startswith(wanted)
    assert all(attributes.get("alt") is not None for tag, attributes in reader.tags if tag == "img")
    return reader
