"""HTML pages that need no other file: tables, pictures and text in one."""

from __future__ import annotations

import base64
import html
from collections.abc import Sequence
from pathlib import Path

import cv2

# A PNG above this becomes a JPEG in the page.
_LARGE = 400_000

_STYLE = """
:root { color-scheme: light dark; --ink: #222; --paper: #fff; --line: #ddd; --soft: #f5f5f5; }
@media (prefers-color-scheme: dark) {
  :root { --ink: #ddd; --paper: #181818; --line: #444; --soft: #242424; } }
body { font: 15px/1.5 system-ui, sans-serif; max-width: 64rem; margin: 2rem auto;
  padding: 0 1rem; color: var(--ink); background: var(--paper); }
table { border-collapse: collapse; margin: .5rem 0 1.5rem; }
td, th { padding: .2rem .8rem; border-bottom: 1px solid var(--line); text-align: right; }
td:first-child, th:first-child { text-align: left; }
table.text td { text-align: left; overflow-wrap: anywhere; }
img { max-width: 100%; display: block; margin: 1rem 0; }
pre { background: var(--soft); padding: .8rem; overflow-x: auto; font-size: 13px; }
.figures { display: flex; flex-wrap: wrap; gap: 1.5rem; margin: 1rem 0; }
.figures div { border: 1px solid var(--line); border-radius: .4rem; padding: .4rem 1rem; }
.figures b { display: block; font-size: 1.6rem; line-height: 1.2; }
"""


def page(title: str, parts: Sequence[str]) -> str:
    """A whole page.

    Args:
        title: Its heading.
        parts: HTML, as the functions of this file make it.
    """
    head = [
        f'<!doctype html><html lang="en"><head><meta charset="utf-8"><title>{_safe(title)}</title>',
        '<meta name="viewport" content="width=device-width, initial-scale=1">',
        f'<style>{_STYLE}</style></head><body><h1>{_safe(title)}</h1>',
    ]
    return '\n'.join([*head, *parts]) + '\n</body></html>\n'


def paragraph(text: str) -> str:
    """Plain text."""
    return f'<p>{_safe(text)}</p>'


def heading(text: str) -> str:
    """Of a section."""
    return f'<h2>{_safe(text)}</h2>'


def table(header: Sequence[object], rows: Sequence[Sequence[object]], *, text: bool = False) -> str:
    """A table, its numbers to the right.

    Args:
        header: Of the columns; empty for none.
        rows: The cells.
        text: The cells are text, to the left.
    """
    head = '<tr>' + ''.join(f'<th>{_safe(cell)}</th>' for cell in header) + '</tr>'
    body = ''.join(
        '<tr>' + ''.join(f'<td>{_safe(cell)}</td>' for cell in row) + '</tr>' for row in rows
    )
    kind = ' class="text"' if text else ''
    return f'<table{kind}>{head if header else ""}{body}</table>'


def figures(named: Sequence[tuple[str, str]]) -> str:
    """Name and value of the few that are read first, large."""
    cells = ''.join(f'<div><b>{_safe(value)}</b>{_safe(name)}</div>' for name, value in named)
    return f'<div class="figures">{cells}</div>'


def picture(path: Path) -> str:
    """An image file, inside the page."""
    data, kind = path.read_bytes(), 'png'
    if len(data) > _LARGE:
        image = cv2.imread(str(path))
        if image is not None:
            encoded = cv2.imencode('.jpg', image, [cv2.IMWRITE_JPEG_QUALITY, 88])[1]
            data, kind = encoded.tobytes(), 'jpeg'
    text = base64.b64encode(data).decode('ascii')
    return f'<img alt="{_safe(path.stem)}" src="data:image/{kind};base64,{text}">'


def folded(title: str, text: str) -> str:
    """Long text behind its title."""
    return f'<details><summary>{_safe(title)}</summary><pre>{_safe(text)}</pre></details>'


def _safe(text: object) -> str:
    return html.escape(str(text))
