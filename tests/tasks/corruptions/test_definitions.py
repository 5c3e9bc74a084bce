"""Every corruption against its definition, computed another way."""

import functools
import io
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from PIL import Image
from scipy import fft, ndimage
from skimage import data

from mergebench.data.corruption import SEVERITIES
from mergebench.tasks.corruptions import CORRUPTIONS
from mergebench.tasks.corruptions.edges import canny

NAMES = ["motion-blur", "impulse-noise", "gaussian-noise", "pixelate", "spatter", "contrast", "jpeg-compression"]
SIZES = [32, 224]

GAUSSIAN = {32: [0.04, 0.06, 0.08, 0.09, 0.10], 224: [0.08, 0.12, 0.18, 0.26, 0.38]}
IMPULSE = {32: [0.01, 0.02, 0.03, 0.05, 0.07], 224: [0.03, 0.06, 0.09, 0.17, 0.27]}
MOTION = {32: [(6, 1), (6, 1.5), (6, 2), (8, 2), (9, 2.5)], 224: [(10, 3), (15, 5), (15, 8), (15, 12), (20, 15)]}
CONTRAST = {32: [0.75, 0.5, 0.4, 0.3, 0.15], 224: [0.4, 0.3, 0.2, 0.1, 0.05]}
PIXELS = {32: [30, 28, 27, 24, 20], 224: [134, 112, 89, 67, 56]}
QUALITY = {32: [80, 65, 58, 50, 40], 224: [25, 18, 15, 10, 7]}
# Mean, deviation, blur and threshold of the liquid, then the strength of water or the softness of mud.
WATER = {
    32: [(0.62, 0.1, 0.7, 0.7, 0.5), (0.65, 0.1, 0.8, 0.7, 0.5), (0.65, 0.3, 1, 0.69, 0.5)],
    224: [(0.65, 0.3, 4, 0.69, 0.6), (0.65, 0.3, 3, 0.68, 0.6), (0.65, 0.3, 2, 0.68, 0.5)],
}
MUD = {
    32: [(0.65, 0.1, 0.7, 0.69, 0.6), (0.65, 0.1, 0.5, 0.68, 0.6)],
    224: [(0.65, 0.3, 1, 0.65, 1.5), (0.67, 0.4, 1, 0.65, 1.5)],
}
LUMINANCE = """
16 11 10 16 24 40 51 61 12 12 14 19 26 58 60 55 14 13 16 24 40 57 69 56 14 17 22 29 51 87 80 62
18 22 37 56 68 109 103 77 24 35 55 64 81 104 113 92 49 64 78 87 103 121 120 101 72 92 95 98 112 100 103 99
"""  # the JPEG standard's example table (Annex K), row by row

every_severity = pytest.mark.parametrize("severity", SEVERITIES)
every_size = pytest.mark.parametrize("size", SIZES)
small_images = arrays(np.uint8, st.tuples(st.integers(1, 9), st.integers(1, 9), st.just(3)))


def apply(name, image, severity, seed=0):
    return CORRUPTIONS[name].apply(image, severity, np.random.default_rng(seed))


astronaut = functools.cache(data.astronaut)


def photo(size, top=30, left=170):
    """Part of a photograph: by default a face and what is around it."""
    return np.ascontiguousarray(astronaut()[top : top + size, left : left + size])


def grey(size, level=128):
    return np.full((size, size, 3), level, dtype=np.uint8)


def test_the_seven_stand_in_order_and_describe_themselves():
    assert list(CORRUPTIONS) == NAMES
    for name, corruption in CORRUPTIONS.items():
        assert corruption.name == name
        assert corruption.title and corruption.version == 1
        assert "arXiv:1903.12261" in corruption.definition and "\n" not in corruption.definition


def test_the_shorter_side_chooses_the_table():
    for shape, quality in [((99, 300, 3), 80), ((300, 99, 3), 80), ((100, 300, 3), 25), ((300, 100, 3), 25)]:
        image = np.random.default_rng(0).integers(0, 256, shape, dtype=np.uint8)
        assert np.array_equal(apply("jpeg-compression", image, 1), jpeg(image, quality))


@every_size
@every_severity
def test_contrast_draws_every_channel_towards_its_mean(size, severity):
    image = photo(size)
    factor = CONTRAST[size][severity - 1]
    made = apply("contrast", image, severity)
    for channel in range(3):
        values = image[..., channel].astype(float)
        mean = values.sum() / values.size
        expected = factor * values + (1 - factor) * mean
        assert np.abs(made[..., channel] - expected).max() <= 0.5 + 1e-9
    assert np.array_equal(apply("contrast", grey(size), severity), grey(size))


@every_size
@every_severity
def test_gaussian_noise_has_its_deviation(size, severity):
    made = np.stack([apply("gaussian-noise", grey(size), severity, seed) for seed in range(9 if size == 32 else 1)])
    noise = made.astype(float) - 128
    deviation = 255 * GAUSSIAN[size][severity - 1]
    # At the strongest the tails are cut off at 0 and 255: compare the quartiles, which no cut reaches.
    quartiles = np.quantile(noise, [0.25, 0.75])
    assert quartiles == pytest.approx([-0.67449 * deviation, 0.67449 * deviation], rel=0.015, abs=0.6)
    assert abs(np.median(noise)) < 0.03 * deviation + 0.5
    if deviation < 40:
        assert noise.std() == pytest.approx(deviation, rel=0.02)
    flat = noise - noise.mean()
    assert abs((flat[..., 0] * flat[..., 1]).mean()) < 0.05 * flat.var(), "channels share their noise"


@every_size
@every_severity
def test_impulse_noise_hits_its_share_of_the_values(size, severity):
    share = IMPULSE[size][severity - 1]
    hits = np.concatenate([apply("impulse-noise", grey(size), severity, seed).ravel() for seed in range(9)])
    assert set(np.unique(hits)) == {0, 128, 255}
    hit = hits != 128
    assert abs(hit.mean() - share) < 5 * math.sqrt(share * (1 - share) / hits.size)
    assert abs((hits == 255).sum() / hit.sum() - 0.5) < 5 * 0.5 / math.sqrt(hit.sum())
    one = apply("impulse-noise", grey(size), severity)
    assert ((one != 128).sum(axis=2) == 1).any(), "channels are hit one by one"


@every_size
@every_severity
def test_pixelate_holds_box_means(size, severity):
    """A pixel of the small image is the mean of the pixels whose centres it covers; each is then shown as it is."""
    few = PIXELS[size][severity - 1]
    centres = np.arange(size) + 0.5
    covers = np.array([(k * size / few < centres) & (centres <= (k + 1) * size / few) for k in range(few)])
    weights = covers / covers.sum(axis=1, keepdims=True)
    shown = np.floor(centres * few / size).astype(int)
    image = photo(size)
    expected = np.einsum("yh,xw,hwc->yxc", weights, weights, image.astype(float), optimize=True)[np.ix_(shown, shown)]
    made = apply("pixelate", image, severity)
    assert np.abs(made - expected).max() <= 1.0  # rounded twice
    assert np.unique(made, axis=0).shape[0] == np.unique(made, axis=1).shape[1] == few


@pytest.mark.parametrize(("severity", "block"), [(2, 2), (5, 4)])
def test_pixelate_at_half_and_quarter_is_blocks(severity, block):
    image = photo(224)
    made = apply("pixelate", image, severity)
    tiles = made.reshape(224 // block, block, 224 // block, block, 3)
    assert (tiles == tiles[:, :1, :, :1]).all()
    means = image.reshape(tiles.shape).mean(axis=(1, 3))
    assert np.abs(tiles[:, 0, :, 0] - means).max() <= 1.0


def jpeg(image, quality):
    file = io.BytesIO()
    Image.fromarray(image).save(file, "JPEG", quality=quality)
    return np.array(Image.open(io.BytesIO(file.getvalue())))


@every_size
@every_severity
def test_jpeg_is_pillows_at_that_quality(size, severity):
    image = photo(size)
    assert np.array_equal(apply("jpeg-compression", image, severity), jpeg(image, QUALITY[size][severity - 1]))


def in_blocks(values):
    """[H, W] as [H / 8, W / 8, 8, 8]."""
    return values.reshape(values.shape[0] // 8, 8, values.shape[1] // 8, 8).transpose(0, 2, 1, 3)


@every_size
@every_severity
def test_jpeg_of_a_grey_image_rounds_the_cosines_of_8x8_blocks(size, severity):
    quality = QUALITY[size][severity - 1]
    scale = 5000 // quality if quality < 50 else 200 - 2 * quality
    steps = np.clip((np.array(LUMINANCE.split(), dtype=int) * scale + 50) // 100, 1, 255).reshape(8, 8)
    compared = 0
    for top in range(0, 256, 32) if size == 32 else [30]:
        values = photo(size, top)[..., 1]
        counts = fft.dctn(in_blocks(values - 128.0), axes=(2, 3), norm="ortho") / steps
        decoded = np.clip(fft.idctn(steps * np.round(counts), axes=(2, 3), norm="ortho") + 128, 0, 255)
        made = apply("jpeg-compression", np.stack([values] * 3, axis=2), severity)
        assert (made == made[..., :1]).all()
        # JPEG libraries compute the cosines in whole numbers, so a coefficient near a tie may go either way.
        sure = (np.abs(counts % 1 - 0.5) > 0.03).all(axis=(2, 3))
        assert np.abs(in_blocks(made[..., 0]) - decoded)[sure].max(initial=0) <= 1.5
        compared += sure.sum()
    assert compared >= 10


@every_size
@every_severity
@pytest.mark.parametrize("seed", range(3))
def test_motion_blur_is_a_ray_of_half_a_gaussian(size, severity, seed):
    """Compared with a correlation by the ray drawn as a kernel."""
    radius, sigma = MOTION[size][severity - 1]
    angle = np.random.default_rng(seed).uniform(-45, 45) * math.pi / 180
    kernel = np.zeros((4 * radius + 1, 4 * radius + 1))
    for k in range(2 * radius + 1):
        down, right = round(k * math.sin(angle)), round(k * math.cos(angle))
        kernel[2 * radius + down, 2 * radius + right] += math.exp(-(k**2) / (2 * sigma**2))
    kernel /= kernel.sum()
    image = photo(size)[:, :, 0]
    expected = ndimage.correlate(image.astype(float), kernel, mode="nearest")
    made = apply("motion-blur", np.stack([image] * 3, axis=2), severity, seed)
    assert np.abs(made[..., 1] - expected).max() <= 0.5 + 1e-6
    assert np.array_equal(apply("motion-blur", grey(size, 200), severity, seed), grey(size, 200))


@every_severity
def test_motion_blur_makes_a_line_of_a_point(severity):
    """Its light is kept, it starts at the point, and it has the drawn angle."""
    image = np.zeros((99, 99, 3), dtype=np.uint8)
    image[49, 49] = 255
    radius, sigma = MOTION[32][severity - 1]
    for seed in range(10):
        angle = np.random.default_rng(seed).uniform(-45, 45) * math.pi / 180
        made = apply("motion-blur", image, severity, seed)[..., 0].astype(float)
        rows, columns = np.nonzero(made)
        assert made.sum() == pytest.approx(255, abs=0.5 * len(rows))
        assert made[49, 49] == made.max()
        assert columns.max() == 49, "the pixels that see the point lie before it"
        length = np.hypot(rows - 49, columns - 49)
        assert length.max() == pytest.approx(min(2 * radius, sigma * 3), abs=0.35 * radius)
        off = (rows - 49) * math.cos(angle) - (columns - 49) * math.sin(angle)
        assert np.abs(off).max() <= math.sqrt(0.5) + 1e-9


def liquid(size, mean, deviation, sigma, threshold, seed):
    """Where liquid lies, by a convolution with an explicit Gaussian."""
    noise = mean + deviation * np.random.default_rng(seed).standard_normal((size, size))
    reach = int(4 * sigma + 0.5)
    weights = np.array([math.exp(-(k**2) / (2 * sigma**2)) for k in range(-reach, reach + 1)])
    kernel = np.outer(weights, weights) / weights.sum() ** 2
    return ndimage.convolve(noise, kernel, mode="nearest") >= threshold


@every_size
@pytest.mark.parametrize("severity", [1, 2, 3])
@pytest.mark.parametrize("seed", range(3))
def test_water_adds_turquoise_light_where_it_lies(size, severity, seed):
    *layer, strength = WATER[size][severity - 1]
    wet = liquid(size, *layer, seed)
    image = photo(size) // 2
    dark = np.zeros_like(image)
    light = apply("spatter", dark, severity, seed).astype(int)
    assert not light[~wet].any()
    shade = light[..., 1] / 238
    assert np.abs(light - shade[..., None] * [175, 238, 238]).max() <= 1
    assert light[..., 1].max() == round(strength * 238)
    assert shade[wet].std() > 0.01, "water is lit, not painted"
    assert np.abs(apply("spatter", image, severity, seed) - np.minimum(image + light, 255)).max() <= 1


def mirrored(index, size):
    """An index beyond the border, mirrored at the border pixel's centre."""
    index = abs(index)
    return 2 * (size - 1) - index if index >= size else index


def weighted(values, weights):
    """Every pixel's 3x3 neighbourhood times the weights, summed, by loops."""
    side = len(values)
    found = np.zeros((side, side))
    for row, column in np.ndindex(side, side):
        for down, right in np.ndindex(3, 3):
            value = values[mirrored(row + down - 1, side), mirrored(column + right - 1, side)]
            found[row, column] += weights[down][right] * value
    return found


@pytest.mark.parametrize("severity", [1, 2, 3])
def test_waters_light_is_a_lit_relief_of_distances_to_its_edges(severity):
    """Light is in proportion to liquid times relief; the relief is made here pixel by pixel."""
    mean, deviation, sigma, threshold, strength = WATER[32][severity - 1]
    noise = mean + deviation * np.random.default_rng(severity).standard_normal((32, 32))
    layer = ndimage.gaussian_filter(noise, sigma, mode="nearest")
    layer = np.clip(255 * np.where(layer < threshold, 0, layer), 0, 255).astype(np.uint8)
    edges = np.argwhere(canny(layer, 50, 150))
    far = np.array([min([20, *np.hypot(*(edges - place).T)]) for place in np.ndindex(32, 32)]).reshape(32, 32)
    height = np.floor(weighted(far, np.ones((3, 3))) / 9 + 1e-9).astype(int)
    below = [(height <= level).sum() for level in range(256)]
    lowest = (height == height.min()).sum()
    equalised = np.array([round(255 * (below[h] - lowest) / (height.size - lowest)) for h in height.flat])
    lit = weighted(equalised.reshape(32, 32), [(-2, -1, 0), (-1, 1, 1), (0, 1, 2)]).clip(0, 255)
    light = layer * np.rint(weighted(lit, np.ones((3, 3))) / 9)
    expected = strength * light / light.max() * 238
    made = apply("spatter", np.zeros((32, 32, 3), dtype=np.uint8), severity, severity)
    assert np.abs(made[..., 1] - expected).max() <= 0.5 + 1e-6 and expected.std() > 5


@every_size
@pytest.mark.parametrize("severity", [4, 5])
@pytest.mark.parametrize("seed", range(3))
def test_mud_covers_what_lies_under_it(size, severity, seed):
    *layer, softness = MUD[size][severity - 4]
    wet = liquid(size, *layer, seed)
    cover = ndimage.gaussian_filter(wet.astype(float), softness, mode="nearest")
    cover[cover < 0.8] = 0
    image = photo(size)
    made = apply("spatter", image, severity, seed)
    assert np.array_equal(made[cover == 0], image[cover == 0])
    covered = cover[..., None]
    expected = image * (1 - covered) + np.array([63, 42, 20]) * covered
    assert np.abs(made - expected).max() <= 0.5 + 1e-6
    assert 0 < (cover > 0).mean() < 0.5


def test_where_no_water_falls_nothing_changes():
    image = photo(32)[:2, :2]
    dry = [seed for seed in range(50) if not liquid(2, 0.62, 0.1, 0.7, 0.7, seed).any()]
    assert dry
    for seed in dry:
        assert np.array_equal(apply("spatter", image, 1, seed), image)


def test_canny_draws_thin_lines_along_strong_edges():
    step = np.zeros((12, 12), dtype=np.uint8)
    step[:, 6:] = 200
    for image in (step, 200 - step):
        found = canny(image, 50, 150)
        assert (found.sum(axis=1) == 1).all() and found[:, 5].all(), "border rows as well"
    assert np.array_equal(canny(step.T, 50, 150), canny(step, 50, 150).T)
    falling = canny(np.tri(12, 12, dtype=np.uint8) * 200, 50, 150)
    assert falling[:-1].any(axis=1).all() and falling.sum(axis=1).max() <= 2
    assert np.array_equal(canny(200 * np.tri(12, 12, dtype=np.uint8)[::-1], 50, 150), falling[::-1])


def test_canny_keeps_weak_edges_that_hang_on_strong_ones():
    ramp = np.zeros((20, 12), dtype=np.uint8)
    ramp[:, 6:] = np.linspace(20, 60, 20).astype(np.uint8)[:, None]  # gradients from 80 to 240
    assert canny(ramp, 50, 150).any(axis=1).all()
    assert not canny(ramp, 50, 250).any()
    assert not canny(ramp[:5], 50, 150).any()


@pytest.mark.parametrize("name", ["gaussian-noise", "impulse-noise", "contrast"])
@given(image=small_images, seed=st.integers(0, 99))
def test_no_value_comes_back_as_the_severity_grows(name, image, seed):
    made = [apply(name, image, severity, seed).astype(int) for severity in SEVERITIES]
    moved = [np.zeros(image.shape, dtype=int)] + [np.abs(m - image) for m in made]
    for less, more in zip(moved, moved[1:], strict=False):
        assert (less <= more).all()


@pytest.mark.parametrize("name", ["contrast", "pixelate", "motion-blur"])
@given(level=st.integers(0, 255), size=st.integers(1, 40), severity=st.sampled_from(SEVERITIES))
def test_an_image_without_content_stays_as_it_is(name, level, size, severity):
    assert np.array_equal(apply(name, grey(size, level), severity), grey(size, level))


@pytest.mark.parametrize("name", NAMES)
@every_size
def test_damage_grows_with_severity(name, size):
    count = 40 if size == 32 else 3
    places = np.random.default_rng(0).integers(0, 512 - size, (count, 2))
    images = [photo(size, top, left) for top, left in places]
    damage = []
    for severity in SEVERITIES:
        pairs = [(apply(name, image, severity, seed).astype(float), image) for seed, image in enumerate(images)]
        damage.append(np.mean([((made - image) ** 2).mean() for made, image in pairs]))
    assert 0 < damage[0] < damage[-1]
    if name == "motion-blur" and size == 32:
        # 12 pixels hold all there is of half a Gaussian of deviation 2: the longer ray of severity 4 sees no more.
        assert damage.pop(3) == damage[2]
    # Spatter changes from water to mud at severity 4, and the two are not on one scale.
    for part in [damage[:3], damage[3:]] if name == "spatter" else [damage]:
        assert all(less < more for less, more in zip(part, part[1:], strict=False)), damage
