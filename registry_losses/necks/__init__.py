"""Necks: backbone maps to the maps a head reads."""

from registry_losses.necks.fpn import FPN

__all__ = ['FPN']
