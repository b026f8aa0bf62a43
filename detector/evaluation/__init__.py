"""Evaluation: images to detections on all ranks, detections to COCO's metrics on rank 0."""
