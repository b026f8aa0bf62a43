"""Renderers of a `Comparison`, one form each."""
