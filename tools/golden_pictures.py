"""Writes pictures of every kind that is read, and their pixels as Pillow has them, into io/src/test/resources/pictures/pillow:
pip install numpy pillow safetensors; python tools/golden_pictures.py

The pixels are those of Pillow after ImageOps.exif_transpose, taken to sRGB by ImageCms where the file has a profile, laid on
white ("NAME") and, where something is transparent, on black too ("NAME on black"). Two things Pillow does not do: grey of 16 bits
is shown by its upper 8 (Pillow clips it at 255), and the transparent colour of a 16-bit PNG is compared in 16 bits.
"""

import io
import os
import struct
import warnings
import zlib

import numpy as np
from PIL import Image, ImageCms, ImageOps, TiffImagePlugin
from safetensors.numpy import save_file

HERE = os.path.join(os.path.dirname(os.path.abspath(__file__)), "../io/src/test/resources/pictures/pillow")
W, H = 18, 12

ys, xs = np.mgrid[0:H, 0:W]
COLOURS = np.stack([xs * 14, ys * 20, 250 - xs * 6 - ys * 8], -1).astype(np.uint8)
COLOURS[2:6, 3:8] = [250, 20, 20]
COLOURS[7:11, 10:15] = [20, 30, 240]
ALPHA = np.clip(xs * 20 - 40, 0, 255).astype(np.uint8)
ALPHA[0:4, 14:] = 0
GREYS = (xs * 10 + ys * 6).astype(np.uint8)
GREYS16 = (xs * 3600 + ys * 97).astype(np.uint16)
COLOURS16 = (COLOURS.astype(int) * 257 + (xs * 31 + ys * 17)[..., None] % 200 - 100).clip(0, 65535).astype(np.uint16)
ALPHA16 = ALPHA.astype(np.uint16) * 257

rgb = Image.fromarray(COLOURS)
rgba = Image.fromarray(np.dstack([COLOURS, ALPHA]))
grey = Image.fromarray(GREYS)
la = Image.merge("LA", (grey, Image.fromarray(ALPHA)))
cmyk = Image.fromarray(np.dstack([np.array(rgb.convert("CMYK"))[..., :3], np.clip(ys * 12, 0, 255).astype(np.uint8)]), "CMYK")
wide = Image.fromarray(np.kron(COLOURS, np.ones((2, 2, 1), np.uint8))).crop((0, 0, 33, 23))  # no whole blocks
XMP = b'<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:Description tiff:Orientation="6"/></x:xmpmeta>'

written = []
values = {}  # where Pillow's own are not wanted


def path(name):
    return os.path.join(HERE, name)


def put(name, data):
    with open(path(name), "wb") as file:
        file.write(data)
    written.append(name)


def get(name):
    with open(path(name), "rb") as file:
        return file.read()


def save(name, image, **options):
    image.save(path(name), **options)
    written.append(name)


def exif(orientation):
    tags = Image.Exif()
    tags[0x112] = orientation
    return tags.tobytes()


# ---------------------------------------------------------------- profiles (ICC.1:2001-04)


def fixed(*numbers):
    return b"".join(struct.pack(">i", round(number * 65536)) for number in numbers)


def profile(space, tags):
    tags = {b"desc": b"desc\0\0\0\0\0\0\0\2x\0" + bytes(80), b"cprt": b"text\0\0\0\0x\0", b"wtpt": b"XYZ \0\0\0\0" + fixed(0.9642, 1, 0.8249), **tags}
    at = 128 + 4 + 12 * len(tags)
    table, data = b"", b""
    for tag, content in tags.items():
        content += bytes(-len(content) % 4)
        table += tag + struct.pack(">II", at + len(data), len(content))
        data += content
    head = struct.pack(">I4sI4s4s4s6H4s4s", at + len(data), b"none", 0x02100000, b"mntr", space, b"XYZ ", 2020, 1, 1, 0, 0, 0, b"acsp", b"none")
    head += bytes(128 - len(head) - 12 - 48) + fixed(0.9642, 1, 0.8249) + bytes(48)
    return head + struct.pack(">I", len(tags)) + table + data


def curve(gamma):
    return b"curv\0\0\0\0" + struct.pack(">IH", 1, round(gamma * 256))


def profile_rgb(red, green, blue, gamma):
    points = {b"rXYZ": red, b"gXYZ": green, b"bXYZ": blue}
    return profile(b"RGB ", {**{tag: b"XYZ \0\0\0\0" + fixed(*xyz) for tag, xyz in points.items()}, **{tag: curve(gamma) for tag in (b"rTRC", b"gTRC", b"bTRC")}})


P3 = ((0.51512, 0.24120, -0.00105), (0.29198, 0.69225, 0.04189), (0.15710, 0.06657, 0.78407))  # Display P3, for D50
WIDE = profile_rgb(*P3, 2.2)
SWAPPED = profile_rgb(P3[1], P3[0], P3[2], 2.2)  # red is green
DARK = profile(b"GRAY", {b"kTRC": curve(3.0)})
SRGB = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()


# ---------------------------------------------------------------- parts of files


def chunk(name, data):
    return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))


def png(name, bits, kind, rows, extra=b""):
    data = zlib.compress(b"".join(b"\0" + row for row in rows))
    header = chunk(b"IHDR", struct.pack(">IIBBBBB", W, H, bits, kind, 0, 0, 0))
    put(name, b"\x89PNG\r\n\x1a\n" + header + extra + chunk(b"IDAT", data) + chunk(b"IEND", b""))


def png_with(name, extra, before=b"IDAT"):
    data = get("rgb.png")
    at = data.index(before) - 4
    put(name, data[:at] + extra + data[at:])


def big(array):
    return [row.astype(">u2").tobytes() for row in array]


def riff_chunk(name, data):
    return name + struct.pack("<I", len(data)) + data + bytes(len(data) % 2)


def riff_chunks(data):
    at = 12
    while at < len(data):
        length = struct.unpack("<I", data[at + 4 : at + 8])[0]
        yield data[at : at + 4], data[at + 8 : at + 8 + length]
        at += 8 + length + length % 2


def int24(number):
    return struct.pack("<I", number)[:3]


def animation(name, still, flags, x, y, width, height):
    parts = b"".join(riff_chunk(kind, data) for kind, data in riff_chunks(get(still)) if kind in (b"VP8 ", b"VP8L", b"ALPH"))
    frame = riff_chunk(b"ANMF", int24(x // 2) + int24(y // 2) + int24(W - 1) + int24(H - 1) + int24(100) + b"\0" + parts)
    head = riff_chunk(b"VP8X", bytes([flags | 2, 0, 0, 0]) + int24(width - 1) + int24(height - 1))
    body = b"WEBP" + head + riff_chunk(b"ANIM", b"\xff\0\0\xff\0\0") + frame + frame
    put(name, b"RIFF" + struct.pack("<I", len(body)) + body)


def gif(name, screen, at, size, transparent=None, background=0, local=False):
    """A frame of `size` at `at` on a screen; codes are never compressed: of 3 bits, with a clear after every second one."""
    palette = bytes([10, 20, 30, 200, 50, 50, 50, 200, 50, 60, 60, 250])
    data = b"GIF89a" + struct.pack("<HHBBB", *screen, 0x11 if local else 0x91, background, 0) + (b"" if local else palette)
    if transparent is not None:
        data += b"\x21\xf9\x04\x01\0\0" + bytes([transparent, 0])
    data += b"," + struct.pack("<HHHHB", *at, *size, 0x81 if local else 0) + (palette if local else b"")
    bits, count = 0, 0
    for i, pixel in enumerate((x // 2 + y) % 4 for y in range(size[1]) for x in range(size[0])):
        for code in ([4] if i % 2 == 0 else []) + [pixel]:
            bits |= code << count
            count += 3
    codes = (bits | 5 << count).to_bytes((count + 10) // 8, "little")
    for i in range(0, len(codes), 255):
        data += (b"\x02" if i == 0 else b"") + bytes([len(codes[i : i + 255])]) + codes[i : i + 255]
    put(name, data + b"\0;")


def bmp(name, bits, compression, data, masks=b"", palette=b"", header=40, height=H):
    head = struct.pack("<IiiHHIIiiII", header, W, height, 1, bits, compression, len(data), 2835, 2835, len(palette) // 4, 0)
    head += masks + bytes(max(0, header - 40 - len(masks))) + palette
    put(name, b"BM" + struct.pack("<IHHI", 14 + len(head) + len(data), 0, 0, 14 + len(head)) + head + data)


def bmp_rows(array, upside_down=True):
    rows = [np.ascontiguousarray(row).tobytes() for row in array]
    return b"".join(row + bytes(-len(row) % 4) for row in (rows[::-1] if upside_down else rows))


def tiff(name, bits, samples, colours, data, *extra, order="<"):
    tags = [(256, 3, [W]), (257, 3, [H]), (258, 3, [bits] * samples), (259, 3, [1]), (262, 3, [colours]), (277, 3, [samples])]
    tags = sorted(tags + [(273, 4, [0]), (278, 3, [H]), (279, 4, [len(data)]), *extra])
    start = 8 + 2 + 12 * len(tags) + 4
    entries, outside = b"", b""
    for tag, kind, numbers in tags:
        content = b"".join(struct.pack(order + {3: "H", 4: "I"}[kind], number) for number in numbers)
        if tag == 273:
            content = b"DATA"
        if len(content) > 4:
            outside, content = outside + content, struct.pack(order + "I", start + len(outside))
        entries += struct.pack(order + "HHI", tag, kind, len(numbers)) + content.ljust(4, b"\0")
    entries = entries.replace(b"DATA", struct.pack(order + "I", start + len(outside)))
    put(name, {"<": b"II*\0", ">": b"MM\0*"}[order] + struct.pack(order + "IH", 8, len(tags)) + entries + bytes(4) + outside + data)


# ---------------------------------------------------------------- the pictures


def orientations():
    for turn in range(1, 9):
        save(f"turned{turn}.png", rgb, exif=exif(turn))
        save(f"turned{turn}.jpg", rgb, exif=exif(turn), quality=95, subsampling=0)
        save(f"turned{turn}.webp", rgb, exif=exif(turn), lossless=True)
        tags = TiffImagePlugin.ImageFileDirectory_v2()
        tags[274] = turn
        save(f"turned{turn}.tif", rgb, tiffinfo=tags, compression="tiff_lzw")
    save("turned-alpha.webp", rgba, exif=exif(6), lossless=True)
    save("turned-lossy.webp", rgb, exif=exif(8), quality=90)
    save("turned-nonsense.png", rgb, exif=exif(9))
    tiff("turned-big-endian.tif", 8, 3, 2, COLOURS.tobytes(), (274, 3, [6]), order=">")
    png_with("turned-at-the-end.png", chunk(b"eXIf", exif(6)[6:]), b"IEND")
    tag = b"MM\0*" + struct.pack(">IH", 8, 1)
    png_with("turned-big-endian.png", chunk(b"eXIf", tag + struct.pack(">HHIHHI", 0x112, 3, 1, 6, 0, 0)))
    png_with("turned-long.png", chunk(b"eXIf", tag + struct.pack(">HHIII", 0x112, 4, 1, 6, 0)))
    text = "\nexif\n%8d\n%s\n" % (len(exif(6)), exif(6).hex())
    png_with("turned-magick.png", chunk(b"zTXt", b"Raw profile type exif\0\0" + zlib.compress(text.encode())))
    png_with("turned-xmp.png", chunk(b"iTXt", b"XML:com.adobe.xmp\0\0\0\0\0" + XMP))
    png_with("turned-xmp-packed.png", chunk(b"iTXt", b"XML:com.adobe.xmp\0\1\0\0\0" + zlib.compress(XMP)))
    save("turned-xmp.webp", rgb, lossless=True, xmp=XMP)
    save("turned-xmp.tif", rgb, tiffinfo={700: XMP}, compression="tiff_lzw")
    plain = get("turned1.jpg")
    xmp = b"http://ns.adobe.com/xap/1.0/\0" + XMP
    put("turned-xmp.jpg", plain[:2] + b"\xff\xe1" + struct.pack(">H", len(xmp) + 2) + xmp + get("444.jpg")[2:])


def pngs():
    save("rgba.png", rgba)
    save("la.png", la)
    save("l.png", grey)
    save("one.png", grey.convert("1"))
    save("one-clear.png", grey.convert("1"), transparency=0)
    save("p.png", rgb.quantize(16))
    save("p-clear.png", rgb.quantize(16), transparency=3)
    save("p-alpha.png", rgb.quantize(200), transparency=bytes([0, 128, 64, 255] * 50))
    save("l-clear.png", grey, transparency=100)
    save("rgb-clear.png", rgb, transparency=(250, 20, 20))
    save("animated.png", rgb, save_all=True, append_images=[Image.new("RGB", (W, H), (0, 200, 0))])
    png("l16.png", 16, 0, big(GREYS16))
    png("rgb16.png", 16, 2, big(COLOURS16))
    png("la16.png", 16, 4, big(np.dstack([GREYS16, ALPHA16])))
    png("rgba16.png", 16, 6, big(np.dstack([COLOURS16, ALPHA16])))
    png("rgb16-clear.png", 16, 2, big(COLOURS16), chunk(b"tRNS", COLOURS16[3, 3].astype(">u2").tobytes()))
    values["rgb16-clear.png"] = (COLOURS16 >> 8, np.where((COLOURS16 == COLOURS16[3, 3]).all(-1), 0, 255))
    for bits in (2, 4):
        packed = ["".join(format(v >> 8 - bits, f"0{bits}b") for v in row) for row in GREYS.tolist()]
        rows = [int(row.ljust(-(-len(row) // 8) * 8, "0"), 2).to_bytes(-(-len(row) // 8), "big") for row in packed]
        png(f"l{bits}.png", bits, 0, rows)
        png(f"l{bits}-clear.png", bits, 0, rows, chunk(b"tRNS", b"\0\1"))
    png("linear.png", 8, 2, [row.tobytes() for row in COLOURS], chunk(b"gAMA", struct.pack(">I", 100000)))


def jpegs():
    save("420.jpg", wide, quality=85, subsampling="4:2:0")
    save("422.jpg", wide, quality=85, subsampling="4:2:2")
    save("progressive.jpg", wide, quality=85, progressive=True)
    save("restarts.jpg", wide, quality=85, restart_marker_blocks=2)
    save("l.jpg", grey, quality=95)
    save("adobe-rgb.jpg", rgb, quality=95, keep_rgb=True)
    save("cmyk.jpg", cmyk, quality=95)
    put("trailing.jpg", get("420.jpg") + b"a film of a phone \xff\xd8\xff\xe0" * 5)
    data = get("cmyk.jpg")
    at = data.index(b"Adobe") - 4
    put("cmyk-plain.jpg", data[:at] + data[at + 16 :])
    stored = np.dstack([np.array(Image.fromarray(np.array(cmyk)[..., :3]).convert("YCbCr")), 255 - np.array(cmyk)[..., 3]])
    out = io.BytesIO()
    Image.fromarray(255 - stored, "CMYK").save(out, "JPEG", quality=97, subsampling=0)
    data = bytearray(out.getvalue())
    data[data.index(b"Adobe") + 11] = 2  # the transform: the first three are YCbCr
    put("ycck.jpg", data)


def webps():
    save("lossless.webp", rgb, lossless=True)
    save("lossless-alpha.webp", rgba, lossless=True, exact=True)
    save("lossy.webp", wide, quality=85)
    save("lossy-alpha.webp", rgba, quality=85)
    save("animated.webp", rgb, save_all=True, append_images=[Image.new("RGB", (W, H), (0, 200, 0))], lossless=True)
    animation("part.webp", "lossless.webp", 0, 6, 4, 30, 20)
    animation("part-clear.webp", "lossless.webp", 0x10, 6, 4, 30, 20)
    animation("part-alpha.webp", "lossless-alpha.webp", 0x10, 6, 4, 30, 20)
    animation("part-lossy.webp", "lossy-alpha.webp", 0x10, 2, 2, 24, 16)


def gifs():
    save("rgb.gif", rgb)
    save("rgba.gif", rgba)
    save("animated.gif", rgb, save_all=True, append_images=[Image.new("RGB", (W, H), (0, 200, 0))])
    gif("part.gif", (20, 14), (5, 3), (10, 8))
    gif("part-background.gif", (20, 14), (5, 3), (10, 8), background=2)
    gif("part-clear.gif", (20, 14), (5, 3), (10, 8), transparent=1)
    gif("part-local.gif", (20, 14), (5, 3), (10, 8), local=True)
    gif("beyond.gif", (10, 8), (5, 3), (10, 8))


def bmps():
    save("rgb.bmp", rgb)
    save("l.bmp", grey)
    save("p.bmp", rgb.quantize(16))
    save("one.bmp", grey.convert("1"))
    five = COLOURS.astype(np.uint16) >> 3
    bmp("555.bmp", 16, 0, bmp_rows((five[..., 0] << 10 | five[..., 1] << 5 | five[..., 2]).astype("<u2")))
    six = COLOURS[..., 1].astype(np.uint16) >> 2
    bmp("565.bmp", 16, 3, bmp_rows((five[..., 0] << 11 | six << 5 | five[..., 2]).astype("<u2")), struct.pack("<III", 0xF800, 0x7E0, 0x1F))
    bgra = np.dstack([COLOURS[..., ::-1], ALPHA])
    bmp("alpha.bmp", 32, 3, bmp_rows(bgra), struct.pack("<IIII", 0xFF0000, 0xFF00, 0xFF, 0xFF000000), header=124)
    bmp("masks.bmp", 32, 3, bmp_rows(bgra), struct.pack("<III", 0xFF0000, 0xFF00, 0xFF))
    bmp("from-the-top.bmp", 24, 0, bmp_rows(COLOURS[..., ::-1], False), height=-H)
    palette = b"".join(bytes([i * 16, 255 - i * 16, i * 7, 0]) for i in range(16))
    rows = [b"".join(bytes([6, (k + y) % 16 * scale]) for k in range(W // 6)) + b"\0\0" for scale in (1, 17) for y in range(H)]
    bmp("runs8.bmp", 8, 1, b"".join(rows[:H]) + b"\0\1", palette=palette)
    bmp("runs4.bmp", 4, 2, b"".join(rows[H:]) + b"\0\1", palette=palette)
    data = bmp_rows(COLOURS[..., ::-1])
    put("os2.bmp", b"BM" + struct.pack("<IHHIIHHHH", 26 + len(data), 0, 0, 26, 12, W, H, 1, 24) + data)


def tiffs():
    save("rgb.tif", rgb)
    save("deflated.tif", rgba, compression="tiff_adobe_deflate", tiffinfo={317: 2})
    save("runs.tif", rgb, compression="packbits")
    save("fax.tif", grey.convert("1"), compression="group4")
    save("two.tif", rgb, save_all=True, append_images=[grey])
    save("p.tif", rgb.quantize(16))
    save("la.tif", la)
    tiff("white-is-0.tif", 8, 1, 0, GREYS.tobytes())
    tiff("l4.tif", 4, 1, 1, (GREYS[:, ::2] >> 4 << 4 | GREYS[:, 1::2] >> 4).tobytes())
    tiff("alpha.tif", 8, 4, 2, np.dstack([COLOURS, ALPHA]).tobytes(), (338, 3, [2]))
    premultiplied = np.rint(COLOURS * (ALPHA[..., None] / 255)).astype(np.uint8)
    tiff("premultiplied.tif", 8, 4, 2, np.dstack([premultiplied, ALPHA]).tobytes(), (338, 3, [1]))
    for order, name in (("<", "little"), (">", "big")):
        tiff(f"l16-{name}.tif", 16, 1, 1, GREYS16.astype(order + "u2").tobytes(), order=order)
        tiff(f"rgb16-{name}.tif", 16, 3, 2, COLOURS16.astype(order + "u2").tobytes(), order=order)


def profiles():
    for name, icc in (("wide", WIDE), ("swapped", SWAPPED)):
        save(f"profile-{name}.png", rgb, icc_profile=icc)
        save(f"profile-{name}.jpg", rgb, quality=95, subsampling=0, icc_profile=icc)
        save(f"profile-{name}.webp", rgb, lossless=True, icc_profile=icc)
        save(f"profile-{name}.tif", rgb, icc_profile=icc, compression="tiff_lzw")
    save("profile-alpha.png", rgba, icc_profile=SWAPPED)
    save("profile-alpha.webp", rgba, lossless=True, exact=True, icc_profile=SWAPPED)
    save("profile-palette.png", rgb.quantize(16), icc_profile=SWAPPED)
    png("profile-rgb16.png", 16, 2, big(COLOURS16), chunk(b"iCCP", b"x\0\0" + zlib.compress(SWAPPED)))
    save("profile-grey.png", grey, icc_profile=DARK)
    save("profile-grey.jpg", grey, quality=95, icc_profile=DARK)
    save("profile-srgb.png", rgb, icc_profile=SRGB)
    save("profile-of-grey.png", rgb, icc_profile=DARK)  # does not fit: ignored
    save("profile-damaged.webp", rgb, lossless=True, icc_profile=b"no profile" * 20)
    save("profile-damaged.jpg", rgb, quality=95, subsampling=0, icc_profile=b"no profile" * 20)


# ---------------------------------------------------------------- their pixels


def srgb(image, icc):
    try:
        source = ImageCms.ImageCmsProfile(io.BytesIO(icc))
        return ImageCms.profileToProfile(image, source, ImageCms.createProfile("sRGB"), outputMode="RGB")
    except (ImageCms.PyCMSError, OSError):  # damaged, or of another kind of colours
        return image


def pixels(name):
    """RGB [H, W, 3] and alpha [H, W], upright and in sRGB."""
    if name in values:
        return values[name]
    image = ImageOps.exif_transpose(Image.open(path(name)))
    icc = image.info.get("icc_profile")
    if image.mode.startswith("I;16"):
        image = Image.fromarray((np.asarray(image) >> 8).astype(np.uint8))
    alpha = np.full((image.height, image.width), 255)
    if "transparency" in image.info or image.mode in ("RGBA", "LA", "PA"):
        image = image.convert("RGBA")
        alpha = np.asarray(image.getchannel("A")).astype(int)
        image = image.convert("RGB")
    if image.mode in ("P", "1"):
        image = image.convert("RGB")
    if icc:
        image = srgb(image, icc)
    return np.asarray(image.convert("RGB")).astype(int), alpha


def main():
    warnings.simplefilter("ignore")
    os.makedirs(HERE, exist_ok=True)
    save("rgb.png", rgb)
    save("444.jpg", rgb, quality=95, subsampling=0)
    for make in (orientations, pngs, jpegs, webps, gifs, bmps, tiffs, profiles):
        make()
    tensors = {}
    for name in written:
        colours, alpha = pixels(name)
        opacity = alpha[..., None] / 255
        for ground, suffix in ((255, ""), (0, " on black")):
            if ground or alpha.min() < 255:
                laid = np.rint(colours * opacity + ground * (1 - opacity))
                tensors[name + suffix] = laid.astype(np.uint8)
    save_file(tensors, path("pixels.safetensors"))


main()
