"""Renderers: values in, text for a terminal or a file out. The only place that imports rich."""
