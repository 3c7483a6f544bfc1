#!/usr/bin/env python3
"""Does a seed draw what diffusers draws? The bundled model against diffusers' own pipelines.

Draws eight prompts from one checkpoint twice: with diffusers' KandinskyPriorPipeline and
KandinskyInpaintPipeline (white mask: nothing is known), and with `kandinsky generate`. Picture i has
the seed SEED + i, and one torch.Generator draws the prior's noise and then the decoder's. Prints the
differences of the 8-bit pictures and fails when one's mean reaches the limit.

The prompts are those of the bundled model's preview. Needs torch, diffusers, transformers, accelerate,
safetensors, sentencepiece, numpy and pillow from PyPI.
"""

import argparse
import json
import subprocess
import sys
import warnings
from pathlib import Path

import numpy as np
from PIL import Image

PROMPTS = (
    "red apple",
    "красное яблоко",
    "cat face",
    "ракета",
    "blue heart on a yellow background",
    "синее сердце на жёлтом фоне",
    "owl 3D render",
    "дом на зелёном фоне",
)


def main() -> int:
    args = arguments()
    args.out.mkdir(parents=True, exist_ok=True)
    reference = [args.out / f"diffusers_{i}.png" for i in range(len(PROMPTS))]
    if not (args.reuse and reference_is_current(args)):
        draw_with_diffusers(args, reference)
    failed = False
    for runtime in args.runtime.split(","):
        ours = [args.out / f"{runtime}_{i}.png" for i in range(len(PROMPTS))]
        draw_with_kandinsky(args, runtime, ours)
        failed |= compare(args, runtime, reference, ours)
        sheet(args.out / f"sheet_{runtime}.png", reference, ours)
    return int(failed)


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--checkpoint", type=Path, required=True, metavar="DIR",
                        help="folder with prior/ and decoder/ in the layout of diffusers")
    parser.add_argument("--kandinsky", type=Path, required=True, metavar="BIN",
                        help="the built command, such as target/release/kandinsky")
    parser.add_argument("--model", type=Path, required=True, metavar="DIR",
                        help="the model folder exported from that checkpoint, such as models/emoji")
    parser.add_argument("--runtime", default="ort,tract", help="runtimes to try (default: %(default)s)")
    parser.add_argument("--seed", type=int, default=0, help="seed of the first picture (default: 0)")
    parser.add_argument("--steps", type=int, default=25)
    parser.add_argument("--guidance", type=float, default=3.0)
    parser.add_argument("--prior-steps", type=int, default=10)
    parser.add_argument("--prior-guidance", type=float, default=4.0)
    parser.add_argument("--size", type=int, default=128, help="side in pixels (default: 128)")
    parser.add_argument("--limit", type=float, default=1.0,
                        help="mean difference of 255 that no picture may reach (default: 1)")
    parser.add_argument("--reuse", action="store_true",
                        help="keep diffusers' pictures of an earlier run with the same numbers")
    parser.add_argument("--out", type=Path, default=Path("target/emoji_parity"), metavar="DIR",
                        help="where pictures and contact sheets go (default: %(default)s)")
    return parser.parse_args()


def settings(args: argparse.Namespace) -> dict:
    """Everything that diffusers' pictures depend on."""
    weights = sorted(args.checkpoint.rglob("*.safetensors"))
    if not weights:
        sys.exit(f"{args.checkpoint} holds no safetensors")
    return {
        "prompts": list(PROMPTS), "seed": args.seed, "size": args.size,
        "steps": args.steps, "guidance": args.guidance,
        "prior_steps": args.prior_steps, "prior_guidance": args.prior_guidance,
        "weights": [[w.relative_to(args.checkpoint).as_posix(), w.stat().st_size, w.stat().st_mtime]
                    for w in weights],
    }


def reference_is_current(args: argparse.Namespace) -> bool:
    record = args.out / "diffusers.json"
    return record.exists() and json.loads(record.read_text()) == settings(args)


def draw_with_diffusers(args: argparse.Namespace, files: list[Path]) -> None:
    """The reference: fp32 arithmetic on the checkpoint's weights, whatever their width on disk."""
    import torch
    from diffusers import KandinskyInpaintPipeline, KandinskyPriorPipeline
    from diffusers.utils import logging

    warnings.simplefilter("ignore")
    logging.disable_progress_bar()
    prior = KandinskyPriorPipeline.from_pretrained(args.checkpoint / "prior", torch_dtype=torch.float32)
    decoder = KandinskyInpaintPipeline.from_pretrained(args.checkpoint / "decoder", torch_dtype=torch.float32)
    for pipeline in (prior, decoder):
        pipeline.set_progress_bar_config(disable=True)
    unknown = Image.new("RGB", (args.size, args.size))
    repaint_all = np.ones((args.size, args.size), dtype=np.float32)
    for i, (prompt, file) in enumerate(zip(PROMPTS, files)):
        generator = torch.Generator("cpu").manual_seed(args.seed + i)
        embed, negative = prior(
            prompt, num_inference_steps=args.prior_steps, guidance_scale=args.prior_guidance,
            generator=generator, return_dict=False,
        )
        picture = decoder(
            prompt, image=unknown, mask_image=repaint_all.copy(), image_embeds=embed,
            negative_image_embeds=negative, width=args.size, height=args.size,
            num_inference_steps=args.steps, guidance_scale=args.guidance, generator=generator,
        ).images[0]
        picture.save(file)
        print(f"diffusers drew {prompt}", file=sys.stderr)
    (args.out / "diffusers.json").write_text(json.dumps(settings(args)))


def draw_with_kandinsky(args: argparse.Namespace, runtime: str, files: list[Path]) -> None:
    for i, (prompt, file) in enumerate(zip(PROMPTS, files)):
        file.unlink(missing_ok=True)
        subprocess.run([
            args.kandinsky, "generate", prompt, "--model", args.model, "--runtime", runtime,
            "--seed", str(args.seed + i), "--sampler", "ddim",
            "--steps", str(args.steps), "--guidance", str(args.guidance),
            "--prior-steps", str(args.prior_steps), "--prior-guidance", str(args.prior_guidance),
            "--size", f"{args.size}x{args.size}", "-o", file,
        ], check=True, stdout=subprocess.DEVNULL)


def compare(args: argparse.Namespace, runtime: str, reference: list[Path], ours: list[Path]) -> bool:
    """Prints a table of differences; true when a picture is too far from the reference."""
    failed = False
    print(f"\n{runtime}: difference of 255\n   seed    mean     max  prompt")
    for i, prompt in enumerate(PROMPTS):
        a, b = (np.asarray(Image.open(f).convert("RGB"), dtype=np.float64) for f in (reference[i], ours[i]))
        if a.shape != b.shape:
            sys.exit(f"{ours[i]} is {b.shape[1]}x{b.shape[0]}, and diffusers drew {a.shape[1]}x{a.shape[0]}")
        difference = np.abs(a - b)
        bad = difference.mean() >= args.limit
        failed |= bool(bad)
        print(f"{args.seed + i:7} {difference.mean():7.4f} {difference.max():7.0f}  {prompt}"
              f"{'  TOO FAR' if bad else ''}")
    return failed


def sheet(file: Path, *rows: list[Path]) -> None:
    """A contact sheet: diffusers above, ours below."""
    strips = [np.hstack([np.asarray(Image.open(f).convert("RGB")) for f in row]) for row in rows]
    Image.fromarray(np.vstack(strips)).save(file)


if __name__ == "__main__":
    sys.exit(main())
