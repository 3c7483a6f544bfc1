#!/usr/bin/env python3
"""Full-size parity and speed: our graphs on ONNX Runtime, driven by `kandinsky`, against diffusers.

For one prior step, one guided UNet step and one MoVQ decode, on the same weights and inputs: how far the
outputs differ (relative L2), how long a call takes (median) and how much memory a process needs (VmHWM).
One component at a time; each side runs alone in a child process with the same number of threads, the sides
take turns, and nothing of one side is used by the other. Exits with 1 when a difference exceeds the limit.

The checkpoint is any Kandinsky 2.1 in the layout of diffusers (`DIR/kandinsky-2-1-prior` and
`DIR/kandinsky-2-1`, or `DIR/prior` and `DIR/decoder`), such as the synthetic one of full size; the model
folder is what `kandinsky export` made of it. Needs torch, diffusers, accelerate, safetensors and numpy.
"""

import argparse
import json
import os
import platform
import statistics
import subprocess
import sys
import tempfile
import time
from datetime import datetime, timezone
from importlib.metadata import version
from pathlib import Path

import numpy as np

# Prompt tokens of the two rows: an empty prompt (its two ends) and one of ten tokens.
ROW_TOKENS = (2, 12)
# Which graphs of ours make a component: those that run once a prompt, then the one that runs each step.
GRAPHS = {
    "prior": (("prior_prefix",), "prior_step"),
    "unet": (("unet_context", "unet_film"), "unet_step"),
    "movq": ((), "movq_decoder"),
}
OUTPUTS = {"prior": "x0", "unet": "out", "movq": "pixels"}
# Guidance that the two rows are also compared under: it magnifies what differs between them.
GUIDANCE = 4.0


def main() -> int:
    args = arguments()
    if args.reference:
        return reference(args)
    components = {}
    for name in args.components.split(","):
        components[name] = measure(args, name)
        print(json.dumps({name: components[name]}, indent=2))
    record = {"machine": machine(), "versions": versions(args), "command": command(), "threads": args.threads,
              "limit": args.limit, "components": components}
    if args.results:
        write(args.results, record)
    print(markdown(record))
    differences = [c[key] for c in components.values() for key in ("relative_l2", "relative_l2_guided")]
    return int(max(differences) > args.limit)


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--checkpoint", type=Path, required=True, metavar="DIR",
                        help="the checkpoint in the layout of diffusers")
    parser.add_argument("--model", type=Path, metavar="DIR", help="the model folder exported from it")
    parser.add_argument("--kandinsky", type=Path, metavar="BIN", default=Path("target/release/kandinsky"),
                        help="the built command (default: %(default)s)")
    parser.add_argument("--components", default="prior,unet,movq", help="default: %(default)s")
    parser.add_argument("--latents", type=int, default=64, metavar="SIDE",
                        help="side of the latents: 64 is 512 pixels (default: 64)")
    parser.add_argument("--threads", type=int, default=2, help="of either side (default: 2)")
    parser.add_argument("--repeat", type=int, default=3, help="timed calls a turn, after one untimed (default: 3)")
    parser.add_argument("--turns", type=int, default=2, help="turns of each side (default: 2)")
    parser.add_argument("--seed", type=int, default=1, help="of the inputs (default: 1)")
    parser.add_argument("--limit", type=float, default=1e-4, help="of the relative L2 (default: 1e-4)")
    parser.add_argument("--results", type=Path, metavar="DIR",
                        help="write full_size.json and full_size.md here, such as benches/results")
    # What the parent calls this script with to become one side of the comparison.
    for hidden in ("--reference", "--inputs", "--outputs"):
        parser.add_argument(hidden, help=argparse.SUPPRESS)
    args = parser.parse_args()
    if not args.reference and not args.model:
        parser.error("--model is required")
    return args


def measure(args: argparse.Namespace, name: str) -> dict:
    """Both sides in turns; their outputs compared, their calls and memory told."""
    from safetensors.numpy import load_file, save_file

    with tempfile.TemporaryDirectory() as scratch:
        files = {side: Path(scratch) / f"{side}.safetensors" for side in ("inputs", "diffusers", "ours")}
        tensors = inputs(args, name)
        save_file(tensors, files["inputs"])
        reports = {"diffusers": [], "ours": []}
        for turn in range(args.turns):
            for side in reports:
                print(f"{name}: {side}, turn {turn + 1} of {args.turns}", file=sys.stderr)
                reports[side].append(child(args, name, side, files))
        output = OUTPUTS[name]
        ours, theirs = (load_file(files[side])[output] for side in ("ours", "diffusers"))
    return {"inputs": {key: list(value.shape) for key, value in tensors.items()},
            "relative_l2": relative_l2(ours, theirs),
            "relative_l2_guided": relative_l2(guided(ours), guided(theirs)),
            "diffusers": summary(reports["diffusers"], "diffusers"),
            "ours": summary(reports["ours"], GRAPHS[name][1])}


def inputs(args: argparse.Namespace, name: str) -> dict[str, np.ndarray]:
    """Standard normal inputs by the names of our graphs' contracts; sizes from the config files."""
    rng = np.random.default_rng([args.seed, sorted(GRAPHS).index(name)])
    config = json.loads((component_folder(args.checkpoint, name) / "config.json").read_text())
    side = args.latents

    def normal(*shape: int) -> np.ndarray:
        return rng.standard_normal(shape, dtype=np.float32)

    if name == "prior":
        width, tokens = config["embedding_dim"], config["num_embeddings"]
        mask = np.arange(tokens) < np.array(ROW_TOKENS)[:, None]
        return {"hidden": normal(2, tokens, width), "pooled": normal(2, width), "mask": mask.astype(np.float32),
                "x": normal(2, width), "t": np.full(2, 539, np.float32)}
    if name == "unet":
        # The image embedding and the pooled text are as wide as the cross attention in Kandinsky 2.1.
        width = config["cross_attention_dim"]
        return {"text_hidden": normal(2, 77, config["encoder_hid_dim"]), "text_pooled": normal(2, width),
                "image_embed": normal(2, width), "t": np.array([541], np.float32),
                "sample": normal(2, config["in_channels"], side, side)}
    return {"latents": normal(1, config["latent_channels"], side, side)}


def component_folder(checkpoint: Path, name: str) -> Path:
    repositories = ("kandinsky-2-1-prior", "prior") if name == "prior" else ("kandinsky-2-1", "decoder")
    for repository in repositories:
        folder = checkpoint / repository / name
        if folder.is_dir():
            return folder
    sys.exit(f"{checkpoint} has no {' or '.join(f'{r}/{name}' for r in repositories)}")


def child(args: argparse.Namespace, name: str, side: str, files: dict[str, Path]) -> dict:
    """Runs one side alone; its last line of output is its report."""
    common = ["--inputs", files["inputs"], "--outputs", files[side], "--repeat", args.repeat,
              "--threads", args.threads]
    if side == "diffusers":
        words = [sys.executable, __file__, "--reference", name, "--checkpoint", args.checkpoint, *common]
    else:
        prompt_graphs, step_graph = GRAPHS[name]
        words = [args.kandinsky, "run-graphs", "--model", args.model, "--runtime", "ort", "--json",
                 "--components", ",".join((*prompt_graphs, step_graph)), *common]
    done = subprocess.run([str(word) for word in words], check=True, stdout=subprocess.PIPE, text=True)
    # Ours may be one line or indented; the reference's libraries may print before it.
    return json.loads(done.stdout[done.stdout.index("{"):])


def reference(args: argparse.Namespace) -> int:
    """The child that runs diffusers' module: reads inputs, writes its output, prints what it measured."""
    import diffusers
    import torch
    from safetensors.torch import load_file, save_file

    kinds = {"prior": diffusers.PriorTransformer, "unet": diffusers.UNet2DConditionModel,
             "movq": diffusers.VQModel}
    torch.set_num_threads(args.threads)
    name, given = args.reference, load_file(args.inputs)
    start = time.perf_counter()
    module = load_module(component_folder(args.checkpoint, name), kinds[name])
    opened = time.perf_counter() - start
    seconds = []
    with torch.inference_mode():
        call(module, name, given)
        for _ in range(args.repeat):
            start = time.perf_counter()
            result = call(module, name, given)
            seconds.append(time.perf_counter() - start)
    save_file({OUTPUTS[name]: result.contiguous()}, args.outputs)
    print(json.dumps({"peak_bytes": peak_bytes(),
                      "parameters": sum(p.numel() for p in module.parameters()),
                      "components": [{"name": "diffusers", "open_seconds": opened, "seconds": seconds}]}))
    return 0


def load_module(folder: Path, kind: type):
    """The module in fp32, exactly as diffusers loads it; refuses weights that do not fit it."""
    import torch

    module, info = kind.from_pretrained(folder, torch_dtype=torch.float32, use_safetensors=True,
                                        output_loading_info=True)
    for what in ("missing_keys", "mismatched_keys"):
        if info[what]:
            sys.exit(f"{folder}: {what} {info[what]}")
    return module.eval()


def call(module, name: str, given: dict):
    """One call as the pipelines make it."""
    if name == "prior":
        return module(given["x"], timestep=given["t"], proj_embedding=given["pooled"],
                      encoder_hidden_states=given["hidden"],
                      attention_mask=given["mask"].bool()).predicted_image_embedding
    if name == "unet":
        conditions = {"text_embeds": given["text_pooled"], "image_embeds": given["image_embed"]}
        return module(given["sample"], given["t"], encoder_hidden_states=given["text_hidden"],
                      added_cond_kwargs=conditions).sample
    return module.decode(given["latents"], force_not_quantize=True).sample


def peak_bytes() -> int:
    """VmHWM of this process: all pages that were ever resident at once, mapped weights included."""
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith("VmHWM:"):
            return int(line.split()[1]) * 1024
    sys.exit("this system does not tell VmHWM")


def summary(reports: list[dict], step: str) -> dict:
    """Medians over all turns; what runs once a prompt apart from what runs each step."""
    medians = {}
    for graphs in zip(*(report["components"] for report in reports)):
        medians[graphs[0]["name"]] = statistics.median(s for graph in graphs for s in graph["seconds"])
    opened = [sum(graph["open_seconds"] for graph in report["components"]) for report in reports]
    return {"step_seconds": medians.pop(step),
            "once_a_prompt_seconds": sum(medians.values()),
            "open_seconds": statistics.median(opened),
            "peak_bytes": max(report["peak_bytes"] for report in reports),
            "turns": reports}


def guided(rows: np.ndarray) -> np.ndarray:
    """Classifier-free guidance of an unconditional and a conditional row; one row stays as it is."""
    return rows if len(rows) == 1 else rows[0] + GUIDANCE * (rows[1] - rows[0])


def relative_l2(ours: np.ndarray, theirs: np.ndarray) -> float:
    if ours.shape != theirs.shape or not np.isfinite(ours).all():
        sys.exit(f"our output has shape {ours.shape}, the reference's {theirs.shape}, or it is not finite")
    ours, theirs = ours.astype(np.float64), theirs.astype(np.float64)
    return float(np.linalg.norm(ours - theirs) / np.linalg.norm(theirs))


def machine() -> dict:
    def field(file: str, key: str) -> str:
        lines = Path(file).read_text().splitlines()
        return next((line.split(":", 1)[1].strip() for line in lines if line.startswith(key)), "unknown")

    return {"cpu": field("/proc/cpuinfo", "model name"), "cores": os.cpu_count(),
            "memory": field("/proc/meminfo", "MemTotal"), "system": f"{platform.system()} {platform.release()}",
            "load_before": os.getloadavg()[0], "date": datetime.now(timezone.utc).strftime("%Y-%m-%d")}


def versions(args: argparse.Namespace) -> dict:
    ours = subprocess.run([args.kandinsky, "--version"], check=True, stdout=subprocess.PIPE, text=True)
    return {"kandinsky": ours.stdout.split()[-1], "python": platform.python_version(),
            **{package: version(package) for package in ("torch", "diffusers", "safetensors", "numpy")}}


def command() -> str:
    """How to do it again, without this machine's paths."""
    paths, words = {"--checkpoint", "--model", "--kandinsky", "--results"}, ["python", "benches/full_size.py"]
    for before, word in zip(sys.argv, sys.argv[1:]):
        name, equals, _ = word.partition("=")
        if name in paths and equals:
            word = f"{name}={name.lstrip('-').upper()}"
        words.append(before.lstrip("-").upper() if before in paths else word)
    return " ".join(words)


def write(folder: Path, record: dict) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "full_size.json").write_text(json.dumps(record, indent=2) + "\n")
    (folder / "full_size.md").write_text(markdown(record))


def markdown(record: dict) -> str:
    m, v = record["machine"], record["versions"]
    lines = [
        "# Full size: our graphs against diffusers", "",
        f"{m['cpu']}, {m['cores']} cores, {m['memory']}, {m['system']}; {m['date']}; load before: "
        f"{m['load_before']:.1f}. fp32, {record['threads']} threads on either side.  ",
        ", ".join(f"{name} {number}" for name, number in v.items())
        + f"; {runtime(record)}.  ",
        f"`{record['command']}`", "",
        "| component | parameters | side | open, s | once a prompt, s | each step, s | peak memory, MB "
        "| relative L2 | guided |",
        "| --- | ---: | --- | ---: | ---: | ---: | ---: | ---: | ---: |",
    ]
    for name, c in record["components"].items():
        parameters = c["diffusers"]["turns"][0]["parameters"]
        ours = f"{c['relative_l2']:.1e} | {c['relative_l2_guided']:.1e}"
        for side, difference in (("diffusers", "|"), ("ours", ours)):
            s = c[side]
            lines.append(f"| {name} | {parameters:,} | {side} | {s['open_seconds']:.1f} "
                         f"| {s['once_a_prompt_seconds']:.3f} | {s['step_seconds']:.3f} "
                         f"| {s['peak_bytes'] / 1e6:,.0f} | {difference} |".replace("  ", " "))
    lines += ["", f"Medians; relative L2 is limited to {record['limit']:g}, also of the two rows combined with guidance "
              f"{GUIDANCE:g}. Peak memory is VmHWM of a process that "
              "runs one component, libraries and mapped weights included. diffusers computes in each step what our graphs "
              "compute once a prompt.", ""]
    return "\n".join(lines)


def runtime(record: dict) -> str:
    component = next(iter(record["components"].values()))
    return component["ours"]["turns"][0].get("runtime", "unknown runtime")


if __name__ == "__main__":
    sys.exit(main())
