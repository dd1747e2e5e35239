"""Draws the icons of the extension and of its three modules: `python docs/make_icon.py`.

Every shape is a signed distance in icon pixels (negative inside), sampled finely and averaged down, so that edges are
smooth, and outlines and grids come from the same formula.
"""

from pathlib import Path

import numpy as np
from PIL import Image

ROOT = Path(__file__).resolve().parents[1]
SIZE, FINE = 128, 8
Y, X = (np.mgrid[: SIZE * FINE, : SIZE * FINE] + 0.5) / FINE

NIGHT, DUSK = (13, 27, 62), (28, 74, 122)
IVORY, SAND = (255, 250, 240), (214, 226, 240)
CYAN, DEEP_CYAN = (94, 234, 245), (38, 160, 220)
CORAL, AMBER, GREEN, SKY = (255, 107, 94), (255, 190, 70), (60, 200, 150), (88, 166, 255)


def circle(x, y, radius):
    return np.hypot(X - x, Y - y) - radius


def ellipse(x, y, a, b):
    return (np.hypot((X - x) / a, (Y - y) / b) - 1) * min(a, b)


def box(x, y, half_width, half_height, corner, turn=0.0):
    """A rectangle with round corners, turned by `turn` radians."""
    u, v = np.cos(turn) * (X - x) + np.sin(turn) * (Y - y), np.cos(turn) * (Y - y) - np.sin(turn) * (X - x)
    dx, dy = np.abs(u) - half_width + corner, np.abs(v) - half_height + corner
    return np.hypot(np.maximum(dx, 0), np.maximum(dy, 0)) + np.minimum(np.maximum(dx, dy), 0) - corner


def union(a, b, blend):
    """Two shapes as one, with the crease between them filled over `blend` pixels."""
    mix = np.clip(0.5 + 0.5 * (b - a) / blend, 0, 1)
    return b * (1 - mix) + a * mix - blend * mix * (1 - mix)


def bust(x, y):
    """Head and shoulders, (x, y) the middle of the head."""
    shoulders = union(box(x, y + 22, 8.5, 13, 4), box(x, y + 66, 37, 34, 26), 8)
    return union(ellipse(x, y, 17, 20.5), shoulders, 5)


def voxels(shape, cell, gap):
    """The cells of a square grid whose middles lie inside a shape, drawn as small squares with a gap between them."""
    x, y = ((np.floor((at - gap / 2) / cell) + 0.5) * cell + gap / 2 for at in (X, Y))
    column, row = (np.clip((middle * FINE).astype(int), 0, SIZE * FINE - 1) for middle in (x, y))
    return np.where(shape[row, column] < 0, box(x, y, (cell - gap) / 2, (cell - gap) / 2, cell / 6), 1.0)


class Canvas:
    """Layers of colour on a rounded square, from back to front."""

    def __init__(self):
        self.frame = box(64, 64, 62, 62, 26)
        self.colour = np.zeros((*X.shape, 3))
        self.fill(self.frame - 2, NIGHT, DUSK)

    def fill(self, shape, top, bottom=None, alpha=1.0, low=0.0, high=128.0):
        """Colour a shape, from `top` at height `low` to `bottom` at height `high`; alpha may vary over the picture."""
        t = np.clip((Y - low) / (high - low), 0, 1)[..., None]
        paint = np.array(top) * (1 - t) + np.array(bottom or top) * t
        cover = (np.where(shape < 0, 1.0, 0.0) * alpha)[..., None]
        self.colour = self.colour * (1 - cover) + paint * cover

    def line(self, shape, width, colour, alpha=1.0):
        self.fill(np.abs(shape) - width / 2, colour, alpha=alpha)

    def save(self, path):
        cover = np.where(self.frame < 0, 255.0, 0.0)[..., None]
        pixels = np.concatenate([self.colour * cover / 255, cover], axis=-1)
        small = pixels.reshape(SIZE, FINE, SIZE, FINE, 4).mean(axis=(1, 3))
        small[..., :3] /= np.maximum(small[..., 3:], 1e-6) / 255
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(np.clip(small + 0.5, 0, 255).astype(np.uint8), "RGBA").save(path, optimize=True)


def extension(canvas):
    """A patient, and over his shoulder the translucent twin of voxels; both carry the same lesion."""
    twin = bust(80.5, 45)
    canvas.fill(bust(47, 45), IVORY, SAND, low=20, high=120)
    canvas.fill(twin, CYAN, DEEP_CYAN, alpha=0.28, low=20, high=120)
    canvas.fill(voxels(twin, cell=5, gap=1), CYAN, DEEP_CYAN, alpha=0.82, low=20, high=120)
    canvas.fill(circle(64, 97, 7), CORAL)
    canvas.line(circle(64, 97, 11), 2, CORAL)


def fusion(canvas):
    """Two frames of different slant, one on the other, and the same structure where they overlap."""
    below, above = box(52, 54, 32, 32, 8), box(78, 76, 32, 32, 8, turn=0.35)
    both = np.maximum(below, above)
    canvas.fill(below, IVORY, SAND)
    canvas.fill(above, AMBER, CORAL, low=30, high=110)
    canvas.fill(both, CYAN, DEEP_CYAN, low=30, high=110)
    canvas.line(below, 2.4, (255, 255, 255))
    canvas.line(above, 2.4, (255, 255, 255))
    for radius in (4, 11):
        canvas.line(circle(65, 65, radius), 2.4, NIGHT)


def segmentation(canvas):
    """An organ with its labelled parts, edges drawn."""
    organ = union(ellipse(56, 62, 36, 40), ellipse(80, 74, 28, 30), 16)
    left, right, core = ellipse(40, 50, 30, 34), ellipse(86, 90, 34, 26), ellipse(74, 55, 14, 12.5)
    for part, colour in (
        (organ, IVORY),
        (np.maximum(organ, left), SKY),
        (np.maximum(organ, right), GREEN),
        (core, CORAL),
    ):
        canvas.fill(part, colour)
        canvas.line(part, 2.6, (255, 255, 255))
    canvas.line(organ, 2.6, (255, 255, 255))


def simulation(canvas):
    """A predicted curve with its bands of 90 % and 50 %, after the measurements."""
    t = np.clip((X - 24) / 84, 0, 1)
    shown = (X > 24) & (X < 108)
    curve = 92 - 46 * t**1.7
    for half_width, alpha in ((25, 0.4), (12, 0.65)):
        inside = shown & (np.abs(Y - curve) < half_width * t**1.2)
        canvas.fill(np.where(inside, -1.0, 1.0), CYAN, DEEP_CYAN, alpha=alpha)
    slope = np.hypot(1, np.gradient(curve, axis=1) * FINE)
    canvas.line(np.where(shown, (Y - curve) / slope, SIZE), 4, (255, 255, 255))
    canvas.fill(box(65, 105, 44, 1.3, 1), SAND)
    canvas.fill(box(22, 63, 1.3, 43, 1), SAND)
    for x, y in ((31, 92), (43, 85), (55, 86)):
        canvas.fill(circle(x, y, 4.4), CORAL)


ICONS = {
    "DigitalTwin.png": extension,
    "TwinFusion/Resources/Icons/TwinFusion.png": fusion,
    "TwinSegment/Resources/Icons/TwinSegment.png": segmentation,
    "TwinSimulate/Resources/Icons/TwinSimulate.png": simulation,
}

if __name__ == "__main__":
    for name, draw in ICONS.items():
        canvas = Canvas()
        draw(canvas)
        canvas.save(ROOT / name)
