"""Losses, assigners, samplers, coders and heads that pair freely from one config."""
