"""Put weights into the package, with what `seqhdr eval` measured of them in their card and in the README.

    seqhdr eval clips/plain --model best.safetensors --json plain.json            # likewise compressed, extracted
    python tools/compressed_table.py PANORAMAS --model best.safetensors --json codecs.json
    python tools/publish_model.py best.safetensors plain.json compressed.json extracted.json --codecs codecs.json

The clips are those of configs/synth; README.md names the commands. Each JSON must be of these weights.
"""

from __future__ import annotations

import argparse
import json
import re
from pathlib import Path
from typing import Any

from safetensors.torch import load_file

from seqhdr.color.encodings import get_encoding
from seqhdr.model.cards import read_card, save_model
from seqhdr.quality.strata import strata_rows

PACKAGE = Path(__file__).parents[1] / "seqhdr" / "model" / "weights"
LOSSLESS = {"acescct": "ACEScct", "srgb": "sRGB"}
FLICKER_MEASURES = ("flicker", "exposure jitter", "std along motion", "std at rest")
CODEC_MEASURES = ("whole", "flat", "blocks", "flat blocks")
SYNTH = {
    "plain": "--config configs/synth/plain.yaml --clips 48 --seed 2026",
    "compressed": "--config configs/synth/compressed.yaml --clips 24 --frames 8 --seed 2026",
    "extracted": "--config configs/synth/extracted.yaml --clips 12 --frames 8 --seed 2026",
}


def read_parts(path: Path, sha256: str) -> tuple[dict[str, Any], dict[str, dict[str, Any]]]:
    """What was counted, and the numbers of each kind of input by its title in the README."""
    report = json.loads(path.read_text())
    models = [model for model in report["models"] if model["sha256"] == sha256]
    if not models:
        raise SystemExit(f"{path}: does not measure {sha256[:12]}: give what seqhdr eval said of these weights")
    model = models[0]
    (data,) = report["data"]
    parts = {}
    for part in model["inputs"]:
        kind = data if part["compressed"] else ""
        parts[f"{kind} 8-bit {get_encoding(part['encoding']).title}".strip()] = part
    return {data: {key: report[key] for key in ("clips", "frames", "flow")}}, parts


def strata_table(title: str, part: dict[str, Any]) -> str:
    """A table of gains as Markdown."""
    lines = [f"| {title} in | model | identity | gain | worst scene |", "|---|---|---|---|---|"]
    rows = strata_rows(part["total"], part["scenes"])
    return "\n".join(lines + [f"| {r.label} | {r.model} | {r.identity} | {r.gain} | {r.worst} |" for r in rows])


def flicker_table(flicker: dict[str, dict[str, dict[str, float]]]) -> str:
    """The table of flicker as Markdown, from what the card keeps of it, all lossless inputs below each other."""
    lines = ["| | model | identity | truth | over truth | identity's |", "|---|---|---|---|---|---|"]
    for name, title in LOSSLESS.items():
        for number, measure in enumerate(FLICKER_MEASURES):
            row = flicker[name][measure]
            cells = [f"{1000 * row[key]:.3f}" for key in ("model", "identity", "truth")]
            cells += [f"{1000 * row[key]:+.3f}" for key in ("model_excess", "identity_excess")]
            label = measure.replace("std along motion", "deviation along the motion").replace("std at", "deviation at")
            lines.append(f"| {label if number else f'{title}: {label}'} | {' | '.join(cells)} |")
    return "\n".join(lines)


def codec_table(codecs: list[dict[str, Any]]) -> str:
    """What the card keeps of tools/compressed_table.py, as Markdown: identity → result, gain, worst scene."""
    lines = ["| source, `--bins auto` | whole | flat areas | blocks | blocks in flat areas |", "|---|---|---|---|---|"]
    for source in codecs:
        cells = [source["source"]]
        for name in CODEC_MEASURES:
            found = source[name]
            share = "blocks" in name
            text = "x {:.2f}" if share else "{:+.2f} dB"
            before = "" if share else f"{found['identity']:.2f} → {found['result']:.2f} dB, "
            worst = "" if found["worst"] is None else f" ({text.format(found['worst'])})"
            cells.append("-" if found["gain"] is None else f"{before}{text.format(found['gain'])}{worst}")
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)


def read_codecs(path: Path, sha256: str) -> list[dict[str, Any]]:
    """What the card keeps of tools/compressed_table.py, source after source: its name, and numbers by measure."""
    report = json.loads(path.read_text())
    if report["sha256"] != sha256:
        raise SystemExit(f"{path}: was measured with {report['sha256'][:12]}, not {sha256[:12]}")
    kept = []
    for source in report["sources"]:
        row: dict[str, Any] = {"source": source["source"]}
        for name in CODEC_MEASURES:
            found = source["measures"][name]
            row[name] = {key: found[key] for key in ("result", "identity", "gain")}
            row[name]["worst"] = None if found["worst"] is None else found["worst"]["gain"]
        kept.append(row)
    return kept


def flicker_numbers(part: dict[str, Any]) -> dict[str, dict[str, float]]:
    """What the card keeps of the measures of flicker."""
    kept = ("model", "identity", "truth", "model_excess", "identity_excess")
    return {measure: {name: row[name] for name in kept} for measure, row in part["flicker"]["total"].items()}


def replace_table(text: str, table: str) -> str:
    """The text with the table that has the same head put in the old one's place."""
    head = table.split("\n")[0]
    pattern = "(?m)^" + re.escape(head) + r"\n(?:\|.*\n)*"
    if len(re.findall(pattern, text)) != 1:
        raise SystemExit(f"README.md has no table or several with the head {head}")
    return re.sub(pattern, lambda _: table + "\n", text)


def main() -> None:
    """Read the numbers, write card and README."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("weights", type=Path)
    parser.add_argument("numbers", type=Path, nargs="+", help="from seqhdr eval --json")
    parser.add_argument("--codecs", type=Path, required=True, help="from tools/compressed_table.py --json")
    parser.add_argument("--readme", type=Path, default=Path(__file__).parents[1] / "README.md")
    parser.add_argument("-o", "--output", type=Path, default=PACKAGE / "s.safetensors")
    args = parser.parse_args()
    card = read_card(args.weights)
    counts: dict[str, Any] = {}
    parts: dict[str, dict[str, Any]] = {}
    for path in args.numbers:
        counted, more = read_parts(path, card.sha256)
        counts |= counted
        parts |= more
    names = {title: title.replace("8-bit ", "").lower() for title in parts}
    measured: dict[str, Any] = {names[title]: part["total"] for title, part in parts.items()}
    measured["flicker"] = {names[title]: flicker_numbers(part) for title, part in parts.items()}
    scenes = sorted({scene for part in parts.values() for scene in part["scenes"]})
    measured["how"] = {"counts": counts, "synth": [SYNTH[data] for data in counts], "panoramas": scenes}
    measured["codecs"] = read_codecs(args.codecs, card.sha256)
    save_model(args.output, card.config, load_file(args.weights), card.training, measured)
    tables = [strata_table(title, part) for title, part in parts.items()]
    text = args.readme.read_text()
    for table in (*tables, codec_table(measured["codecs"]), flicker_table(measured["flicker"])):
        text = replace_table(text, table)
    args.readme.write_text(text)
    print(f"{args.output}  sha256 {card.sha256}")


if __name__ == "__main__":
    main()
