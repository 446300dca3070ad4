"""How the rules are written: no bit arithmetic outside ``ops/``."""

import ast
from pathlib import Path

import pytest

import registry_losses.assigners

ROOM = Path(registry_losses.assigners.__file__).parent
FILES = sorted(ROOM.rglob('*.py'))


@pytest.mark.parametrize('path', FILES, ids=lambda path: str(path.relative_to(ROOM)))
def test_no_bit_arithmetic(path):
    source = path.read_text(encoding='utf-8')
    for node in ast.walk(ast.parse(source)):
        shifts = isinstance(node, ast.BinOp) and isinstance(
            node.op, (ast.LShift, ast.RShift, ast.BitXor)
        )
        masks = (
            isinstance(node, ast.BinOp)
            and isinstance(node.op, ast.BitAnd)
            and any(isinstance(side, ast.Constant) for side in (node.left, node.right))
        )
        assert not shifts and not masks, f'{path.name}:{node.lineno}: belongs to ops/segments.py'
    assert 'view(torch.int' not in source and '0x' not in source
