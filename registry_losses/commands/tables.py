"""Tables in the terminal."""

from __future__ import annotations

import os
import sys

from rich.console import Console
from rich.table import Table as RichTable

from ..visualization import Table


def table_console() -> Console:
    """Where tables go: in a pipe or a file they are not squeezed into 80 columns."""
    squeezed = not sys.stdout.isatty() and 'COLUMNS' not in os.environ
    return Console(width=200) if squeezed else Console()


def print_table(console: Console, table: Table) -> None:
    """Print a table; columns of numbers stand to the right."""
    shown = RichTable(title=table.title, title_justify='left', title_style='bold')
    for index, name in enumerate(table.head):
        cells = [row[index] for row in table.rows]
        numbers = index > 0 and all(_is_number(cell) for cell in cells)
        shown.add_column(name, justify='right' if numbers else 'left', overflow='fold')
    for row in table.rows:
        shown.add_row(*row)
    console.print(shown)


def _is_number(text: str) -> bool:
    return text.strip()[:1].isdigit() or text.strip() in ('', '-')
