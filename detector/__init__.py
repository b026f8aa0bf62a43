"""One training run of an object detector under torchrun."""
