"""Object detection with RetinaNet: anchors, losses, boxes out, COCO evaluation."""
