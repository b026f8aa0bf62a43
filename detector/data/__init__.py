"""Data: annotation files to an index of flat arrays, images to augmented batches."""
