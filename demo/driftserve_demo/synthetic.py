"""A small synthetic data set of six scene classes, so that the demo needs no download."""

import random
from collections.abc import Callable
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageFilter

SIDE = 96  # pixels
IMAGES_PER_CLASS = {"train": 100, "val": 100, "test": 40, "stream": 100}
QUICK_IMAGES_PER_CLASS = {"train": 60, "val": 40, "test": 10, "stream": 40}  # stream: 240 in all, a window needs 200
_AMBIGUOUS_SHARE = 0.4  # share of images that blend two scenes; a classifier without errors has nothing to calibrate

Colour = tuple[int, int, int]
Paint = Callable[[ImageDraw.ImageDraw, random.Random], None]


def write_dataset(
    folder: Path,
    images_per_class: dict[str, int] = IMAGES_PER_CLASS,
    seed: int = 0,
    on_image: Callable[[], None] = lambda: None,
) -> None:
    """Draw `<split>/<class>/<number>.jpg` into a folder; the same seed draws the same images."""
    generator = random.Random(seed)
    for split, number in images_per_class.items():
        for label, paint in _PAINTERS.items():
            directory = folder / split / label
            directory.mkdir(parents=True, exist_ok=True)
            for index in range(number):
                draw_scene(paint, generator).save(directory / f"{index:04d}.jpg", quality=generator.randint(82, 94))
                on_image()


def count_images(images_per_class: dict[str, int]) -> int:
    """Return how many images `write_dataset` draws."""
    return sum(images_per_class.values()) * len(_PAINTERS)


def draw_scene(paint: Paint, generator: random.Random) -> Image.Image:
    """Draw one scene with its own light, blur and sensor noise; some images blend in a second scene."""
    image = _paint(paint, generator)
    if generator.random() < _AMBIGUOUS_SHARE:
        other = _paint(generator.choice(list(_PAINTERS.values())), generator)
        image = Image.blend(image, other, generator.uniform(0.25, 0.49))
    image = image.filter(ImageFilter.GaussianBlur(generator.uniform(0.2, 0.7)))
    pixels = np.asarray(image, np.float32)
    noise = np.random.default_rng(generator.getrandbits(32)).normal(0, generator.uniform(2, 6), pixels.shape)
    brightened = (pixels - 128) * generator.uniform(0.85, 1.15) + 128 + generator.uniform(-18, 18) + noise
    return Image.fromarray(brightened.clip(0, 255).astype(np.uint8))


def _paint(paint: Paint, generator: random.Random) -> Image.Image:
    image = Image.new("RGB", (SIDE, SIDE))
    paint(ImageDraw.Draw(image), generator)
    return image


def _buildings(draw: ImageDraw.ImageDraw, generator: random.Random) -> None:
    _sky(draw, generator)
    left = -10
    while left < SIDE:
        width = generator.randint(14, 30)
        top = generator.randint(8, 55)
        draw.rectangle((left, top, left + width, SIDE), fill=_shade((130, 120, 115), generator))
        for y in range(top + 4, SIDE - 4, 9):
            for x in range(left + 3, left + width - 4, 7):
                draw.rectangle((x, y, x + 3, y + 4), fill=_shade((70, 85, 105), generator))
        left += width + generator.randint(0, 5)


def _forest(draw: ImageDraw.ImageDraw, generator: random.Random) -> None:
    draw.rectangle((0, 0, SIDE, SIDE), fill=_shade((45, 80, 40), generator))
    for _ in range(generator.randint(90, 140)):
        x, y, size = generator.randint(0, SIDE), generator.randint(0, SIDE), generator.randint(4, 12)
        draw.ellipse((x - size, y - size, x + size, y + size), fill=_shade((50, 100, 45), generator, 30))
    for _ in range(generator.randint(4, 8)):
        x = generator.randint(0, SIDE)
        draw.line((x, generator.randint(10, 50), x, SIDE), fill=_shade((75, 55, 35), generator), width=3)


def _glacier(draw: ImageDraw.ImageDraw, generator: random.Random) -> None:
    _sky(draw, generator)
    draw.rectangle((0, generator.randint(30, 45), SIDE, SIDE), fill=_shade((215, 230, 240), generator, 10))
    for _ in range(generator.randint(10, 18)):
        x, y = generator.randint(-10, SIDE), generator.randint(35, SIDE)
        corners = [(x, y), (x + generator.randint(12, 30), y - generator.randint(4, 14)), (x + 18, y + 12)]
        draw.polygon(corners, fill=_shade((165, 205, 230), generator, 18))


def _mountain(draw: ImageDraw.ImageDraw, generator: random.Random) -> None:
    _sky(draw, generator)
    for _ in range(generator.randint(2, 4)):
        x, top, half = generator.randint(5, SIDE - 5), generator.randint(10, 40), generator.randint(35, 60)
        draw.polygon([(x - half, SIDE), (x, top), (x + half, SIDE)], fill=_shade((110, 100, 95), generator, 20))
        cap = half * 0.25
        rise = (SIDE - top) * 0.25
        draw.polygon(
            [(x - cap, top + rise), (x, top), (x + cap, top + rise)], fill=_shade((235, 235, 240), generator, 8)
        )


def _sea(draw: ImageDraw.ImageDraw, generator: random.Random) -> None:
    _sky(draw, generator)
    horizon = generator.randint(28, 55)
    draw.rectangle((0, horizon, SIDE, SIDE), fill=_shade((35, 90, 140), generator))
    for _ in range(generator.randint(30, 60)):
        x, y = generator.randint(-5, SIDE), generator.randint(horizon + 2, SIDE)
        draw.line((x, y, x + generator.randint(6, 22), y), fill=_shade((90, 150, 190), generator, 25))


def _street(draw: ImageDraw.ImageDraw, generator: random.Random) -> None:
    _sky(draw, generator)
    vanishing = (generator.randint(38, 58), generator.randint(35, 48))
    for side in (0, SIDE):
        near = abs(side - generator.randint(12, 22))
        draw.polygon(
            [(side, generator.randint(0, 15)), vanishing, (near, SIDE), (side, SIDE)],
            fill=_shade((150, 110, 85), generator),
        )
    draw.polygon([vanishing, (generator.randint(5, 20), SIDE), (SIDE - 10, SIDE)], fill=_shade((75, 75, 78), generator))
    draw.line((*vanishing, generator.randint(42, 54), SIDE), fill=_shade((225, 215, 150), generator), width=2)


def _sky(draw: ImageDraw.ImageDraw, generator: random.Random) -> None:
    draw.rectangle((0, 0, SIDE, SIDE), fill=_shade((160, 190, 220), generator, 25))


def _shade(colour: Colour, generator: random.Random, spread: int = 20) -> Colour:
    change = generator.randint(-spread, spread)
    red, green, blue = (min(255, max(0, part + change + generator.randint(-6, 6))) for part in colour)
    return red, green, blue


_PAINTERS: dict[str, Paint] = {
    "buildings": _buildings,
    "forest": _forest,
    "glacier": _glacier,
    "mountain": _mountain,
    "sea": _sea,
    "street": _street,
}
