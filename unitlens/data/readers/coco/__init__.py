"""COCO and data in its format: lists in JSON, with instances, stuff and panoptic maps."""
