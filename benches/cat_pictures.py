#!/usr/bin/env python3
"""The cats of the emoji data set as a folder that `kandinsky fit-prior` reads.

Takes the archive of the bundled model's training pictures (`emoji128.zip`: I.webp, captions.json.gz) and
writes every picture of a cat with its English and Russian captions: the name, and the name with the style.
Needs nothing but Python.
"""

import argparse
import gzip
import json
import zipfile
from pathlib import Path

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


def main() -> None:
    args = arguments()
    args.out.mkdir(parents=True)
    with zipfile.ZipFile(args.archive) as archive:
        rows = json.loads(gzip.decompress(archive.read("captions.json.gz")))
        cats = [(i, row) for i, row in enumerate(rows) if "cat" in row["en_name"].split()]
        with open(args.out / "captions.jsonl", "w", encoding="utf-8") as lines:
            for i, row in cats:
                (args.out / f"{i}.webp").write_bytes(archive.read(f"{i}.webp"))
                for caption in captions(row):
                    line = {"file": f"{i}.webp", "caption": caption}
                    lines.write(json.dumps(line, ensure_ascii=False) + "\n")
    print(f"{len(cats)} pictures in {args.out}")


def captions(row: dict) -> list[str]:
    english, russian = STYLES[row["style"]]
    names = row["en_name"], row["ru_name"]
    return [*names, f"{names[0]}, {english}", f"{names[1]}, {russian}"]


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("archive", type=Path, help="emoji128.zip")
    parser.add_argument("out", type=Path, help="the folder to make")
    return parser.parse_args()


if __name__ == "__main__":
    main()
