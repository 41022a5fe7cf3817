"""A few brush strokes to a good segmentation of a new microscopy data set."""
