"""Tensors in large pages are tensors like others."""

import mmap

import pytest
import torch

from registry_losses.ops import pages


@pytest.mark.parametrize('dtype', [torch.float32, torch.bfloat16])
@pytest.mark.parametrize('shape', [(0, 3), (7, 5), (3000, 3001)])
def test_is_empty_like(shape, dtype):
    x = torch.zeros(shape, dtype=dtype)
    y = pages.empty_like(x)
    assert (y.shape, y.dtype, y.stride()) == (x.shape, x.dtype, x.stride())
    y.fill_(2)
    assert bool((y == 2).all())


def test_asks_for_whole_pages_within_large_tensors_alone(monkeypatch):
    asked = []
    monkeypatch.setattr(pages, '_advise', lambda: lambda *call: asked.append(call) or -1)
    pages.empty_like(torch.zeros(1000))
    assert not asked
    y = pages.empty_like(torch.empty(pages.LARGE // 4 + 10))
    ((start, length, _),) = asked
    assert start % mmap.PAGESIZE == 0
    assert y.data_ptr() <= start < y.data_ptr() + mmap.PAGESIZE
    assert start + length == y.data_ptr() + y.numel() * 4


def test_works_where_the_system_knows_no_large_pages(monkeypatch):
    monkeypatch.setattr(pages, '_advise', lambda: None)
    assert pages.empty_like(torch.empty(pages.LARGE // 4)).numel() == pages.LARGE // 4
