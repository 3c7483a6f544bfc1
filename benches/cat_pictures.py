#!/usr/bin/env python3
"""About 500 pictures of cats with captions, as a folder that `kandinsky fit-prior` reads.

Takes the archive of the bundled model's training pictures (`emoji128.zip`: I.webp, captions.json.gz) and
lays every cat over white and over four of the other grounds that the model was trained with. Each picture has
an English and a Russian caption; on white, the name of the style is in two more. Needs pillow from PyPI.
"""

import argparse
import gzip
import io
import json
import zipfile
from pathlib import Path

from PIL import Image

STYLES = {
    "noto": ("Noto emoji", "эмодзи Noto"),
    "noto_v1": ("blob emoji", "эмодзи-капля"),
    "twemoji": ("Twemoji", "твемодзи"),
    "fluent_color": ("glossy", "глянцевый стиль"),
    "fluent_flat": ("flat", "плоский стиль"),
    "fluent_3d": ("3D render", "3D-рендер"),
    "emojitwo": ("emoji two", "эмодзи two"),
    "fxemoji": ("Firefox emoji", "эмодзи Firefox"),
}
GROUNDS = [
    ((20, 20, 20), "black", "чёрном"),
    ((150, 150, 150), "grey", "сером"),
    ((214, 60, 55), "red", "красном"),
    ((245, 150, 50), "orange", "оранжевом"),
    ((250, 215, 80), "yellow", "жёлтом"),
    ((90, 180, 95), "green", "зелёном"),
    ((150, 210, 245), "light blue", "голубом"),
    ((50, 100, 210), "blue", "синем"),
    ((140, 85, 190), "purple", "фиолетовом"),
    ((250, 170, 200), "pink", "розовом"),
    ((140, 95, 65), "brown", "коричневом"),
]
GROUNDS_A_CAT = 4


def main() -> None:
    args = arguments()
    args.out.mkdir(parents=True)
    pictures = 0
    with zipfile.ZipFile(args.archive) as archive:
        rows = json.loads(gzip.decompress(archive.read("captions.json.gz")))
        cats = [(i, row) for i, row in enumerate(rows) if "cat" in row["en_name"].split()]
        with open(args.out / "captions.jsonl", "w", encoding="utf-8") as lines:
            for at, (i, row) in enumerate(cats):
                cat = Image.open(io.BytesIO(archive.read(f"{i}.webp"))).convert("RGBA")
                for ground, captions in views(row, at):
                    name = f"{i}_{pictures}.png"
                    picture = Image.new("RGBA", cat.size, (*ground, 255))
                    picture.alpha_composite(cat)
                    picture.convert("RGB").save(args.out / name)
                    for caption in captions:
                        line = {"file": name, "caption": caption}
                        lines.write(json.dumps(line, ensure_ascii=False) + "\n")
                    pictures += 1
    print(f"{pictures} pictures of {len(cats)} cats in {args.out}")


def views(row: dict, at: int) -> list[tuple[tuple[int, int, int], list[str]]]:
    """The grounds that a cat is laid over, each with its captions."""
    english, russian = row["en_name"], row["ru_name"]
    styles = STYLES[row["style"]]
    white = [english, russian, f"{english}, {styles[0]}", f"{russian}, {styles[1]}"]
    found = [((255, 255, 255), white)]
    for k in range(GROUNDS_A_CAT):
        colour, en, ru = GROUNDS[(at * GROUNDS_A_CAT + k) % len(GROUNDS)]
        found.append((colour, [f"{english} on a {en} background", f"{russian} на {ru} фоне"]))
    return found


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("archive", type=Path, help="emoji128.zip")
    parser.add_argument("out", type=Path, help="the folder to make")
    return parser.parse_args()


if __name__ == "__main__":
    main()
