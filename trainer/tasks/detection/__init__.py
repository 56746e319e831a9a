"""Object detection by set prediction: the DETR family of `transformers`, judged by COCO mAP."""
