"""Makes the pictures of this folder and what they must decode to (Pillow 13.0.0, numpy 2).

python tests/pictures/make.py astronaut.png

Argument: scikit-image's picture of Eileen Collins (NASA, public domain). NAME.ppm holds the pixels of NAME: upright,
over white. The PNGs are written by hand here, because Pillow does not write all of their kinds; where Pillow reads a
kind, its pixels are compared as well.
"""
import io
import struct
import sys
import zlib
from pathlib import Path

import numpy as np
from PIL import Image, ImageOps

HERE = Path(__file__).parent
photo = Image.open(sys.argv[1]).convert("RGB").crop((176, 60, 272, 140)).resize((48, 40), Image.BICUBIC)
rng = np.random.RandomState(1)


def expect(name, rgb):
    rgb = np.asarray(rgb, dtype=np.uint8)
    (HERE / f"{name}.ppm").write_bytes(b"P6 %d %d 255\n" % (rgb.shape[1], rgb.shape[0]) + rgb.tobytes())


def over_white(rgb, alpha):
    rgb, alpha = rgb.astype(np.int64), alpha.astype(np.int64)[..., None]
    return ((rgb * alpha + 255 * (255 - alpha) + 127) // 255).astype(np.uint8)


def chunk(name, data):
    return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))


def rows(samples, depth):
    """Samples [h, w, channels], packed to `depth` bits; every row after its filter byte."""
    for row in samples.reshape(samples.shape[0], -1):
        if depth == 16:
            yield b"\0" + row.astype(">u2").tobytes()
        else:
            bits = np.unpackbits(row.astype(np.uint8)[:, None], axis=1)[:, 8 - depth :]
            yield b"\0" + np.packbits(bits.ravel()).tobytes()


def png(name, samples, depth, kind, *extra, interlaced=False):
    samples = samples if samples.ndim == 3 else samples[..., None]
    height, width = samples.shape[:2]
    passes = [(0, 0, 1, 1)]
    if interlaced:
        passes = [(0, 0, 8, 8), (4, 0, 8, 8), (0, 4, 4, 8), (2, 0, 4, 4), (0, 2, 2, 4), (1, 0, 2, 2), (0, 1, 1, 2)]
    parts = [samples[y::dy, x::dx] for x, y, dx, dy in passes]
    data = b"".join(row for part in parts if part.size for row in rows(part, depth))
    header = struct.pack(">IIBBBBB", width, height, depth, kind, 0, 0, int(interlaced))
    body = chunk(b"IHDR", header) + b"".join(extra) + chunk(b"IDAT", zlib.compress(data, 9)) + chunk(b"IEND", b"")
    (HERE / f"{name}.png").write_bytes(b"\x89PNG\r\n\x1a\n" + body)


def same_in_pillow(name, rgb):
    assert (np.asarray(Image.open(HERE / f"{name}.png").convert("RGB")) == rgb).all(), name


GREY, RGB, PALETTE, LA, RGBA = 0, 2, 3, 4, 6
H, W = 7, 11


def grey(levels):
    return np.repeat(levels[..., None].astype(np.uint8), 3, axis=2)


for depth in [1, 2, 4, 8, 16]:
    top = 2**depth - 1
    levels = rng.randint(0, top + 1, (H, W))
    rgb = grey(levels >> 8 if depth == 16 else levels * (255 // top))
    png(f"grey{depth}", levels, depth, GREY)
    expect(f"grey{depth}.png", rgb)
    if depth < 16:  # Pillow clips these instead of scaling them
        same_in_pillow(f"grey{depth}", rgb)
    clear = levels[0, 0]
    png(f"grey{depth}_trns", levels, depth, GREY, chunk(b"tRNS", struct.pack(">H", clear)))
    expect(f"grey{depth}_trns.png", over_white(rgb, np.where(levels == clear, 0, 255)))
for depth in [8, 16]:
    shift = depth - 8
    samples = rng.randint(0, 2**depth, (H, W, 4))
    samples[0, :4, 3] = [0, 1 << shift, 128 << shift, 255 << shift]
    high = samples >> shift
    png(f"rgb{depth}", samples[..., :3], depth, RGB)
    expect(f"rgb{depth}.png", high[..., :3])
    same_in_pillow(f"rgb{depth}", high[..., :3])
    png(f"rgba{depth}", samples, depth, RGBA)
    expect(f"rgba{depth}.png", over_white(high[..., :3], high[..., 3]))
    png(f"la{depth}", samples[..., 2:], depth, LA)
    expect(f"la{depth}.png", over_white(grey(high[..., 2]), high[..., 3]))
    clear = samples[1, 1, :3]
    png(f"rgb{depth}_trns", samples[..., :3], depth, RGB, chunk(b"tRNS", struct.pack(">HHH", *clear)))
    expect(f"rgb{depth}_trns.png", over_white(high[..., :3], np.where((samples[..., :3] == clear).all(2), 0, 255)))
for depth in [1, 2, 4, 8]:
    colours = rng.randint(0, 256, (2**depth, 3)).astype(np.uint8)
    index = rng.randint(0, 2**depth, (H, W))
    png(f"palette{depth}", index, depth, PALETTE, chunk(b"PLTE", colours.tobytes()))
    expect(f"palette{depth}.png", colours[index])
    same_in_pillow(f"palette{depth}", colours[index])
    # Fewer entries than colours: the rest is opaque.
    alpha = np.full(2**depth, 255)
    alpha[: 2 ** (depth - 1)] = rng.randint(0, 256, 2 ** (depth - 1))
    trns = chunk(b"tRNS", alpha[: 2 ** (depth - 1)].astype(np.uint8).tobytes())
    png(f"palette{depth}_trns", index, depth, PALETTE, chunk(b"PLTE", colours.tobytes()), trns)
    expect(f"palette{depth}_trns.png", over_white(colours[index], alpha[index]))
    rgba = np.asarray(Image.open(HERE / f"palette{depth}_trns.png").convert("RGBA"))
    assert (rgba == np.dstack([colours[index], alpha[index]])).all()
small = np.asarray(photo)[:13, :19]
png("interlaced", small, 8, RGB, interlaced=True)
expect("interlaced.png", small)
same_in_pillow("interlaced", small)
bits = rng.randint(0, 2, (9, 13))
png("interlaced1", bits, 1, GREY, interlaced=True)
expect("interlaced1.png", grey(bits * 255))
same_in_pillow("interlaced1", grey(bits * 255))


def pillow(name, image, **options):
    image.save(HERE / name, **options)
    with Image.open(HERE / name) as read:
        expect(name, read.convert("RGB"))


pillow("grey.jpg", photo.convert("L"), quality=90)
pillow("444.jpg", photo, quality=95, subsampling=0)
pillow("422.jpg", photo, quality=95, subsampling=1)
pillow("420.jpg", photo, quality=95, subsampling=2)
pillow("odd.jpg", photo.crop((3, 5, 20, 18)), quality=95, subsampling=2)
pillow("progressive.jpg", photo, quality=95, subsampling=2, progressive=True)
pillow("restart.jpg", photo, quality=95, subsampling=2, restart_marker_blocks=1)
pillow("rgb.jpg", photo, quality=95, subsampling=0, keep_rgb=True)
pillow("one.jpg", photo.crop((9, 9, 10, 10)), quality=95)
pillow("one.webp", photo.crop((9, 9, 10, 10)), lossless=True)
pillow("one.png", photo.crop((9, 9, 10, 10)))
cmyk = Image.merge("CMYK", [*ImageOps.invert(photo).split(), ImageOps.invert(photo.convert("L"))])
pillow("cmyk.jpg", cmyk, quality=95, subsampling=0)
pillow("cmyk_progressive.jpg", cmyk, quality=95, subsampling=0, progressive=True)
# YCCK: the same planes, the first three turned to YCbCr, said in the Adobe segment. What Pillow stores is inverted.
ycc = ImageOps.invert(photo.point(lambda level: 255 - level)).convert("YCbCr")
planes = [ImageOps.invert(plane) for plane in ycc.split()]
ycck = Image.merge("CMYK", [*planes, ImageOps.invert(photo.convert("L")).point(lambda level: level // 2)])
file = io.BytesIO()
ycck.save(file, "JPEG", quality=95, subsampling=0)
data = bytearray(file.getvalue())
adobe = data.index(b"Adobe")
assert data[adobe + 11] == 0
data[adobe + 11] = 2
(HERE / "ycck.jpg").write_bytes(data)
expect("ycck.jpg", Image.open(HERE / "ycck.jpg").convert("RGB"))

ramp = Image.linear_gradient("L").resize(photo.size)
clear = photo.copy()
clear.putalpha(ramp)
pillow("lossy.webp", photo, quality=80)
pillow("lossless.webp", photo, lossless=True)
for name, options in [("lossy_alpha.webp", {"quality": 80}), ("lossless_alpha.webp", {"lossless": True})]:
    clear.save(HERE / name, exact=True, **options)
    rgba = np.asarray(Image.open(HERE / name).convert("RGBA"))
    expect(name, over_white(rgba[..., :3], rgba[..., 3]))

# Turned so that all come out as upright.ppm.
upright = photo.resize((12, 8), Image.BICUBIC)
expect("upright", upright)
inverse = {2: 0, 3: 3, 4: 1, 5: 5, 6: 2, 7: 6, 8: 4}  # Transpose.*, each the way back
for orientation in range(1, 9):
    exif = Image.Exif()
    exif[0x0112] = orientation
    stored = upright.transpose(inverse[orientation]) if orientation > 1 else upright
    for name, options in [("png", {}), ("webp", {"lossless": True}), ("jpg", {"quality": 100, "subsampling": 0})]:
        path = HERE / f"turned{orientation}.{name}"
        stored.save(path, exif=exif, **options)
        turned = np.asarray(ImageOps.exif_transpose(Image.open(path)).convert("RGB")).astype(int)
        assert abs(turned - np.asarray(upright)).max() <= (4 if name == "jpg" else 0), path

frames = [photo.crop((0, 0, 8, 8)), photo.crop((8, 8, 16, 16))]
frames[0].save(HERE / "animated.png", save_all=True, append_images=frames[1:])
frames[0].save(HERE / "animated.webp", save_all=True, append_images=frames[1:], lossless=True)
for name in ["gif", "tiff", "bmp", "ico", "avif", "jp2"]:
    frames[0].save(HERE / f"unread.{name}")
