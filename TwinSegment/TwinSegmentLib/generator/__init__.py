"""Training images from label maps alone: random shape, contrast, field of view, resolution, bias, noise and motion.

The principle of SynthSeg (Billot and others 2023, Medical Image Analysis 86:102789): a network that has seen every
contrast in training needs no image of the contrast that it is given.
"""

from .recipe import Recipe, Structure, read_recipe
from .sampler import Mixture, Sample, Scans, Synthesiser

__all__ = ["Mixture", "Recipe", "Sample", "Scans", "Structure", "Synthesiser", "read_recipe"]
