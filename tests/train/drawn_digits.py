"""Digits as a mouse draws them on a canvas: polylines with round joints, in several hands, sizes and places."""

import math
import random

from PIL import Image, ImageDraw

CANVAS = 400
Stroke = list[tuple[float, float]]


def _arc(x: float, y: float, rx: float, ry: float, start: float, end: float, steps: int = 24) -> Stroke:
    angles = [math.radians(start + (end - start) * step / steps) for step in range(steps + 1)]
    return [(x + rx * math.cos(angle), y + ry * math.sin(angle)) for angle in angles]


# In a unit square, y downwards; several hands for each digit.
HANDS: dict[int, list[list[Stroke]]] = {
    0: [
        [_arc(0.5, 0.5, 0.32, 0.5, -90, 270)],
        [_arc(0.5, 0.5, 0.42, 0.5, -60, 300)],
        [_arc(0.5, 0.5, 0.25, 0.5, -100, 255)],
    ],
    1: [
        [[(0.5, 0.0), (0.5, 1.0)]],
        [[(0.3, 0.25), (0.55, 0.0), (0.55, 1.0)]],
        [[(0.35, 0.2), (0.55, 0.0), (0.55, 1.0)], [(0.3, 1.0), (0.8, 1.0)]],
    ],
    2: [
        [[*_arc(0.5, 0.28, 0.32, 0.28, -170, 30), (0.18, 1.0), (0.85, 1.0)]],
        [[*_arc(0.48, 0.3, 0.3, 0.3, -160, 45), (0.2, 0.98), (0.5, 0.93), (0.85, 1.0)]],
        [[(0.2, 0.12), (0.5, 0.0), (0.78, 0.15), (0.75, 0.4), (0.2, 1.0), (0.85, 1.0)]],
    ],
    3: [
        [[*_arc(0.45, 0.25, 0.3, 0.25, -150, 90), *_arc(0.45, 0.74, 0.35, 0.26, -90, 150)]],
        [[*_arc(0.45, 0.24, 0.32, 0.24, -160, 80), *_arc(0.45, 0.73, 0.36, 0.27, -80, 165)]],
        [[(0.2, 0.0), (0.75, 0.0), (0.45, 0.4), *_arc(0.45, 0.7, 0.33, 0.3, -80, 150)]],
    ],
    4: [
        [[(0.6, 1.0), (0.6, 0.0), (0.12, 0.68), (0.9, 0.68)]],
        [[(0.25, 0.0), (0.15, 0.55), (0.85, 0.55)], [(0.7, 0.1), (0.65, 1.0)]],
        [[(0.55, 0.0), (0.15, 0.62), (0.88, 0.62)], [(0.62, 0.35), (0.62, 1.0)]],
    ],
    5: [
        [[(0.8, 0.0), (0.25, 0.0), (0.22, 0.42), *_arc(0.45, 0.68, 0.35, 0.31, -130, 140)]],
        [[(0.22, 0.0), (0.22, 0.42), *_arc(0.45, 0.67, 0.35, 0.32, -120, 150)], [(0.22, 0.0), (0.8, 0.02)]],
        [[(0.8, 0.02), (0.3, 0.0), (0.22, 0.45), (0.55, 0.38), (0.8, 0.6), (0.7, 0.92), (0.4, 1.0), (0.15, 0.88)]],
    ],
    6: [
        [[(0.65, 0.0), (0.35, 0.25), (0.22, 0.6), *_arc(0.5, 0.72, 0.28, 0.28, 180, -180)]],
        [[*_arc(0.72, 0.62, 0.52, 0.62, -95, -180), *_arc(0.5, 0.7, 0.3, 0.3, 180, -170)]],
        [[(0.55, 0.0), (0.28, 0.4), (0.2, 0.75), (0.4, 1.0), (0.7, 0.92), (0.75, 0.65), (0.5, 0.52), (0.22, 0.7)]],
    ],
    7: [
        [[(0.15, 0.0), (0.85, 0.0), (0.4, 1.0)]],
        [[(0.15, 0.02), (0.85, 0.0), (0.45, 1.0)], [(0.3, 0.5), (0.8, 0.48)]],
        [[(0.15, 0.05), (0.8, 0.0), (0.6, 0.4), (0.5, 1.0)]],
    ],
    8: [
        [_arc(0.5, 0.25, 0.27, 0.25, 90, 450), _arc(0.5, 0.75, 0.32, 0.25, -90, 270)],
        [_arc(0.5, 0.26, 0.24, 0.26, 90, 450), _arc(0.5, 0.76, 0.28, 0.24, -90, 270)],
        [
            [(0.72, 0.1), (0.5, 0.0), (0.27, 0.15), (0.35, 0.38), (0.65, 0.58), (0.75, 0.8)],
            [(0.75, 0.8), (0.5, 1.0), (0.25, 0.82), (0.35, 0.6), (0.68, 0.35), (0.72, 0.1)],
        ],
    ],
    9: [
        [_arc(0.48, 0.28, 0.3, 0.28, 0, 360), [(0.78, 0.2), (0.75, 0.6), (0.65, 1.0)]],
        [[*_arc(0.48, 0.28, 0.3, 0.28, -20, -360), (0.78, 1.0)]],
        [[*_arc(0.48, 0.28, 0.3, 0.28, -10, -360), (0.78, 0.6), *_arc(0.5, 0.72, 0.28, 0.28, 0, 130)]],
    ],
}


def draw_digit(digit: int, *, hand: int = 0, brush: int = 28, seed: int | None = None) -> Image.Image:
    """Draw a digit in white on a black 400x400 canvas; with a seed, of random size, place, slant and wobble."""
    chance = random.Random(seed)
    vary = chance.uniform if seed is not None else lambda low, high: (low + high) / 2
    height, width = vary(170, 320), vary(120, 240)
    angle, slant = math.radians(vary(-8, 8)), vary(-0.2, 0.2)
    left, top = vary(40, 360 - width), vary(40, 360 - height)
    image = Image.new("L", (CANVAS, CANVAS))
    canvas = ImageDraw.Draw(image)
    for stroke in HANDS[digit][hand]:
        points = []
        for x, y in stroke:
            x, y = (x - 0.5) * width - slant * (y - 0.5) * height, (y - 0.5) * height
            x, y = x * math.cos(angle) - y * math.sin(angle), x * math.sin(angle) + y * math.cos(angle)
            points.append((left + width / 2 + x + vary(-2, 2), top + height / 2 + y + vary(-2, 2)))
        canvas.line(points, fill=255, width=brush, joint="curve")
        for x, y in points:
            canvas.ellipse([x - brush / 2, y - brush / 2, x + brush / 2, y + brush / 2], fill=255)
    return image
