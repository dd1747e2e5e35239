"""TwinSegmentLib: outlines, label maps and segmentation; arrays in, arrays out."""
