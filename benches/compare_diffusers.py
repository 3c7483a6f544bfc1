#!/usr/bin/env python3
"""Full-size parity, speed and memory: ours, driven by `kandinsky`, against diffusers on the same weights.

Stages, each measured on both sides in turns, one side alone in a child process with the same number of threads:

    prior_step  one step of the prior: two rows of 77 tokens with a mask
    unet_step   one guided step of the UNet: two rows
    movq        one decode
    prior       the whole prior with guidance, by KandinskyPriorPipeline's own loop
    first_step  prompt to first UNet step in a warm process: tokenise, both encoders, prior
    cold        process start to first UNet step, files in the page cache
    picture     a whole picture from the prompt, models loaded

With --plain a third side joins the first three: the obvious export, each of diffusers' modules as one graph by
torch.onnx.export, on the same ONNX Runtime.

The first three get tensors and are told apart by what runs once a prompt and what runs each step; the others get a
prompt and a seed, which mean the same noise on both sides. Errors are relative L2 against diffusers in fp32, of the
output, of the image embedding, or of the latents. Peak memory: VmHWM, and the most RssAnon that was sampled.

Results are written after each stage, and a later run with other --stages adds to them. Exits with 1 when an fp32 side
of ours is further away than --limit. The checkpoint is any Kandinsky 2.1 in the layout of diffusers
(`DIR/kandinsky-2-1-prior` and `DIR/kandinsky-2-1`, or `DIR/prior` and `DIR/decoder`), such as the synthetic one of
full size; the model folder is what `kandinsky export` made of it. Needs torch, diffusers, transformers, accelerate,
sentencepiece, safetensors and numpy; --plain also onnx, onnxscript and onnxruntime.
"""

import argparse
import json
import os
import platform
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from datetime import datetime, timezone
from importlib.metadata import version
from pathlib import Path

import numpy as np

# Prompt tokens of the two rows of tensors: an empty prompt (its two ends) and one of ten tokens.
ROW_TOKENS = (2, 12)
# Stages that get tensors: the module, graphs of ours that run once a prompt, the one that runs each step, the output.
MODULES = {
    "prior_step": ("prior", ("prior_prefix",), "prior_step", "x0"),
    "unet_step": ("unet", ("unet_context", "unet_film"), "unet_step", "out"),
    "movq": ("movq", (), "movq_decoder", "pixels"),
}
# Stages that get a prompt, and what is compared of them.
PROMPTED = {"prior": "image_embeds", "first_step": "image_embeds", "cold": "image_embeds", "picture": "latents"}
STAGES = (*MODULES, *PROMPTED)
# Runs of these take a process each.
ONE_A_PROCESS = ("cold", "picture")
PROMPT = "red cat, 4k photo"
# The side of the obvious export.
PLAIN = "plain export"
# Guidance that two rows are also compared under: it magnifies what differs between them.
GUIDANCE = 4.0


def main() -> int:
    args = arguments()
    if args.child:
        return child_main(args)
    begin = time.perf_counter()
    record = earlier(args)
    for stage in args.stages:
        record["stages"][entry(args, stage)] = {**measure(args, stage), "command": command()}
        if args.results:
            write(args.results, record)
        print(f"{stage} done after {time.perf_counter() - begin:.0f} s", file=sys.stderr)
    print(markdown(record))
    print(f"total {time.perf_counter() - begin:.0f} s with {args.repeat} runs a side", file=sys.stderr)
    return int(any(too_far(args, record["stages"][entry(args, stage)]) for stage in args.stages))


def entry(args: argparse.Namespace, stage: str) -> str:
    """What a stage is called in the results: pictures of other steps stand beside each other."""
    return f"picture, {args.steps} steps" if stage == "picture" else stage


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--checkpoint", type=Path, required=True, metavar="DIR",
                        help="the checkpoint in the layout of diffusers")
    parser.add_argument("--model", type=Path, metavar="DIR", help="the model folder exported from it")
    parser.add_argument("--kandinsky", type=Path, metavar="BIN", default=Path("target/release/kandinsky"),
                        help="the built command (default: %(default)s)")
    parser.add_argument("--stages", default=",".join(STAGES), help="default: %(default)s")
    parser.add_argument("--ours", default="ort", metavar="SIDE,SIDE,…",
                        help="our sides, each RUNTIME or RUNTIME:PRECISION, such as ort,tract,auto:bf16; more options "
                             "of the command follow a + and take the place of its own, such as ort+--memory=4G or "
                             "ort+--steps=16+--sampler=dpmpp_2m_karras (default: %(default)s)")
    parser.add_argument("--diffusers", default="fp32,bf16", help="diffusers' types (default: %(default)s)")
    parser.add_argument("--plain", action="store_true", help="measure the obvious export as well")
    parser.add_argument("--latents", type=int, default=64, metavar="SIDE",
                        help="side of the latents: 64 is 512 pixels (default: 64)")
    parser.add_argument("--steps", type=int, default=50, help="of a picture, by DDIM (default: %(default)s)")
    parser.add_argument("--prior-steps", type=int, default=25, help="default: %(default)s")
    parser.add_argument("--threads", type=int, default=2, help="of either side (default: 2)")
    parser.add_argument("--repeat", type=int, default=5, help="timed runs of each side in all (default: 5)")
    parser.add_argument("--turns", type=int, default=2, help="turns that they are spread over (default: 2)")
    parser.add_argument("--seed", type=int, default=1, help="default: 1")
    parser.add_argument("--limit", type=float, default=1e-4,
                        help="of the relative L2 of our fp32 sides in the first three stages (default: 1e-4)")
    parser.add_argument("--results", type=Path, metavar="DIR",
                        help="write compare_diffusers.json and .md here, such as benches/results")
    # What the parent calls this script with to become diffusers' side of a stage.
    for hidden in ("--child", "--dtype", "--inputs", "--outputs"):
        parser.add_argument(hidden, help=argparse.SUPPRESS)
    args = parser.parse_args()
    args.stages = args.stages.split(",")
    unknown = set(args.stages) - set(STAGES)
    if unknown:
        parser.error(f"there is no stage {', '.join(sorted(unknown))}; known are {', '.join(STAGES)}")
    if not args.child and not args.model:
        parser.error("--model is required")
    if args.repeat < 1 or args.turns < 1:
        parser.error("--repeat and --turns are at least 1")
    return args


# The parent: turns, children, what they say and hold.

def sides(args: argparse.Namespace, stage: str) -> list[str]:
    """Names of the sides; diffusers in fp32 is always among them, since errors are told against it."""
    types = [dtype for dtype in args.diffusers.split(",") if dtype not in ("", "fp32")]
    plain = [PLAIN] if args.plain and stage in MODULES else []
    return ["diffusers fp32", *(f"diffusers {dtype}" for dtype in types), *plain, *args.ours.split(",")]


def measure(args: argparse.Namespace, stage: str) -> dict:
    """All sides in turns; their outputs compared, their runs and memory told."""
    from safetensors.numpy import load_file, save_file

    with tempfile.TemporaryDirectory() as scratch:
        scratch = Path(scratch)
        inputs = scratch / "inputs.safetensors"
        if stage in MODULES:
            save_file(module_inputs(args, stage), inputs)
        names = sides(args, stage)
        outputs = {side: scratch / f"{place}.safetensors" for place, side in enumerate(names)}
        reports = {side: [] for side in names}
        for turn, side, repeat in order(args, stage, names):
            print(f"{stage}: {side}, turn {turn + 1}", file=sys.stderr)
            run = {"diffusers": run_diffusers, "plain": run_plain}.get(side.split()[0], run_ours)
            report = run(args, stage, side, repeat, inputs, outputs[side], turn == 0)
            if turn >= 0:
                reports[side].append(report)
        key = MODULES[stage][3] if stage in MODULES else PROMPTED[stage]
        tensors = {side: load_file(file)[key] for side, file in outputs.items()}
    reference = tensors["diffusers fp32"]
    found = {side: summary(reports[side], tensors[side], reference) for side in names}
    return {"compared": key, "shape": list(reference.shape), "sides": found, "repeat": args.repeat,
            "threads": args.threads, "latents": args.latents, "steps": args.steps, "prior_steps": args.prior_steps,
            "seed": args.seed, "date": datetime.now(timezone.utc).strftime("%Y-%m-%d"),
            "load_before": os.getloadavg()[0]}


def order(args: argparse.Namespace, stage: str, names: list[str]) -> list[tuple[int, str, int]]:
    """Turns of all sides, each with its timed runs. Cold starts of a side follow each other, after one that counts for
    nothing and brings its files into the page cache, which may not hold those of two sides."""
    if stage == "cold":
        return [(turn, side, 1) for side in names for turn in range(-1, args.repeat)]
    return [(turn, side, repeat) for turn, repeat in enumerate(shares(args, stage)) for side in names]


def shares(args: argparse.Namespace, stage: str) -> list[int]:
    """Timed runs of each turn."""
    if stage in ONE_A_PROCESS:
        return [1] * args.repeat
    turns = min(args.turns, args.repeat)
    return [args.repeat // turns + (turn < args.repeat % turns) for turn in range(turns)]


def run_diffusers(args, stage, side, repeat, inputs, output, first) -> dict:
    report, memory, launched = child(this_script(args, stage, side.split()[1], repeat, inputs, output))
    if stage == "cold":
        report["seconds"] = [report["began"] - launched]
    return {**report, **memory}


def run_plain(args, stage, side, repeat, inputs, output, first) -> dict:
    if first:
        child(this_script(args, stage, "export", repeat, inputs, output))
    report, memory, _ = child(this_script(args, stage, "exported", repeat, inputs, output))
    return {**report, **memory}


def this_script(args, stage, what, repeat, inputs, output) -> list:
    """The command of a child: a type of diffusers, or what is done with the plain export."""
    return [sys.executable, __file__, "--child", stage, "--dtype", what, "--checkpoint", args.checkpoint,
            "--inputs", inputs, "--outputs", output, "--repeat", repeat, "--threads", args.threads,
            "--latents", args.latents, "--steps", args.steps, "--prior-steps", args.prior_steps, "--seed", args.seed]


def run_ours(args, stage, side, repeat, inputs, output, first) -> dict:
    if stage in MODULES:
        _, prompt_graphs, step_graph, _ = MODULES[stage]
        report, memory, _ = child(ours(args, side, "run-graphs", "--inputs", inputs, "--outputs", output, "--repeat",
                                       repeat, "--components", ",".join((*prompt_graphs, step_graph))))
        graphs = {graph["name"]: graph for graph in report["components"]}
        step = graphs.pop(step_graph)
        once = [sum(graph["seconds"][run] for graph in graphs.values()) for run in range(repeat)]
        opened = step["open_seconds"] + sum(graph["open_seconds"] for graph in graphs.values())
        return {"seconds": step["seconds"], "once": once, "open": opened, "runtime": report["runtime"], **memory}
    if stage in ONE_A_PROCESS:
        steps = 1 if stage == "cold" else args.steps
        report, memory, launched = child(generate(args, side, output, steps))
        parts = {name: seconds for name, seconds in report["seconds"].items() if name not in ("load", "total")}
        seconds = report["denoising_began"] - launched if stage == "cold" else sum(parts.values())
        return {"seconds": [seconds], "stages": parts, "open": report["seconds"]["load"],
                "runtime": report["runtime"], **memory}
    if first:
        # For the embedding alone, hence the smallest picture.
        child(generate(args, side, output, 1, "64x64"))
    name = {"prior": "prior.all", "first_step": "first_step"}[stage]
    side_px = args.latents * 8
    report, _, _ = child(ours(args, side, "bench", "--stages", name, "--repeat", repeat, "--prompt", PROMPT, "--size",
                                   f"{side_px}x{side_px}", "--steps", args.steps, "--prior-steps", args.prior_steps))
    found = report["stages"][0]
    # Of the stage and not of the process, which has measured the machine's own speed before.
    memory = {key: found[key] or 0 for key in ("peak_bytes", "anonymous_bytes")}
    return {"seconds": found["seconds"]["runs"], "runtime": report["versions"]["runtime"], **memory}


def ours(args: argparse.Namespace, side: str, name: str, *words) -> list:
    """A command of ours with a side's runtime, precision and further options."""
    what, *more = side.split("+")
    runtime, _, precision = what.partition(":")
    chosen = ["--runtime", runtime, *(["--precision", precision] if precision else []), *more]
    named = {word.partition("=")[0] for word in more}
    words = [*words, "--model", args.model, "--threads", args.threads]
    kept = [word for before, word in zip([None, *words], words) if not named & {word, before}]
    return [args.kandinsky, name, *kept, "--json", *chosen]


def generate(args, side: str, output: Path, steps: int, size: str | None = None) -> list:
    size = size or f"{args.latents * 8}x{args.latents * 8}"
    return ours(args, side, "generate", PROMPT, "--seed", args.seed, "--sampler", "ddim", "--steps", steps, "--guidance",
                GUIDANCE, "--prior-steps", args.prior_steps, "--prior-guidance", GUIDANCE, "--size", size,
                "--output", output.with_suffix(".png"), "--tensors", output, "--force")


def child(words: list) -> tuple[dict, dict, float]:
    """Runs one side alone: its report, what it held, and when it was launched."""
    launched = time.time()
    process = subprocess.Popen([str(word) for word in words], stdout=subprocess.PIPE, text=True)
    held = {"peak_bytes": 0, "anonymous_bytes": 0}
    watcher = threading.Thread(target=watch, args=(process, held), daemon=True)
    watcher.start()
    said, _ = process.communicate()
    watcher.join()
    if process.returncode != 0:
        sys.exit(f"{' '.join(str(word) for word in words)} ended with {process.returncode}: {said[-400:]}")
    # Ours may be one line or indented; the reference's libraries may print before it.
    return json.loads(said[said.index("{"):]), held, launched


def watch(process: subprocess.Popen, held: dict) -> None:
    """Keeps the most that a process held until it ends."""
    while process.poll() is None:
        try:
            lines = Path(f"/proc/{process.pid}/status").read_text().splitlines()
        except OSError:
            return
        for line in lines:
            for name, key in (("VmHWM:", "peak_bytes"), ("RssAnon:", "anonymous_bytes")):
                if line.startswith(name):
                    held[key] = max(held[key], int(line.split()[1]) * 1024)
        time.sleep(0.02)


def summary(reports: list[dict], output: np.ndarray, reference: np.ndarray) -> dict:
    """Medians over all turns."""
    seconds = [second for report in reports for second in report["seconds"]]
    once = [second for report in reports for second in report.get("once", [])]
    found = {"seconds": statistics.median(seconds), "spread": (max(seconds) - min(seconds)) / statistics.median(seconds),
             "once_a_prompt_seconds": statistics.median(once) if once else 0.0,
             "open_seconds": statistics.median(report.get("open", 0.0) for report in reports),
             "peak_bytes": max(report["peak_bytes"] for report in reports),
             "anonymous_bytes": max(report["anonymous_bytes"] for report in reports),
             "relative_l2": relative_l2(output, reference), "turns": reports}
    if len(reference) == 2:
        found["relative_l2_guided"] = relative_l2(guided(output), guided(reference))
    return found


def guided(rows: np.ndarray) -> np.ndarray:
    """Classifier-free guidance of an unconditional and a conditional row."""
    return rows[0] + GUIDANCE * (rows[1] - rows[0])


def relative_l2(ours: np.ndarray, theirs: np.ndarray) -> float:
    if ours.shape != theirs.shape or not np.isfinite(ours).all():
        sys.exit(f"an output has shape {ours.shape}, the reference's {theirs.shape}, or it is not finite")
    ours, theirs = ours.astype(np.float64), theirs.astype(np.float64)
    return float(np.linalg.norm(ours - theirs) / np.linalg.norm(theirs))


def too_far(args: argparse.Namespace, found: dict) -> bool:
    """Whether a side of ours that computes in fp32 misses a module's output."""
    exact = [side for name, side in found["sides"].items()
             if not name.startswith("diffusers") and name.partition("+")[0].partition(":")[2] in ("", "f32")]
    keys = ("relative_l2", "relative_l2_guided") if found["compared"] in ("x0", "out", "pixels") else ()
    return any(side.get(key, 0.0) > args.limit for side in exact for key in keys)


# The child: diffusers' side of a stage.

def child_main(args: argparse.Namespace) -> int:
    import torch

    torch.set_num_threads(args.threads)
    if args.dtype == "exported":
        report = run_exported(args)
    elif args.dtype == "export":
        with torch.no_grad():
            report = export_module(args)
    else:
        with torch.inference_mode():
            report = run_module(args) if args.child in MODULES else run_prompted(args)
    print(json.dumps(report))
    return 0


def dtype_of(args: argparse.Namespace):
    import torch

    return {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}[args.dtype]


def run_module(args: argparse.Namespace) -> dict:
    """Calls one of diffusers' modules: an untimed call, then timed ones."""
    import torch
    from safetensors.torch import load_file, save_file

    name, output = MODULES[args.child][0], MODULES[args.child][3]
    given = {key: value.to(dtype_of(args)) if value.is_floating_point() and key != "t" else value
             for key, value in load_file(args.inputs).items()}
    start = time.perf_counter()
    module = module_of(args, name, dtype_of(args))
    if name != "prior":
        module = module.to(memory_format=torch.channels_last)
    opened = time.perf_counter() - start
    result, seconds = timed(lambda: call(module, name, given), args.repeat)
    save_file({output: result.float().contiguous()}, args.outputs)
    return {"seconds": seconds, "open": opened, "parameters": sum(p.numel() for p in module.parameters())}


def module_of(args: argparse.Namespace, name: str, dtype):
    """One of diffusers' modules with the checkpoint's weights."""
    import diffusers

    kinds = {"prior": diffusers.PriorTransformer, "unet": diffusers.UNet2DConditionModel, "movq": diffusers.VQModel}
    module, info = kinds[name].from_pretrained(
        component_folder(args.checkpoint, name), torch_dtype=dtype, use_safetensors=True, output_loading_info=True)
    for what in ("missing_keys", "mismatched_keys"):
        if info[what]:
            sys.exit(f"{name}: {what} {info[what]}")
    return module.eval()


def timed(work, repeat: int) -> tuple:
    """What came of an untimed call and then of timed ones, and their seconds."""
    result, seconds = work(), []
    for _ in range(repeat):
        start = time.perf_counter()
        result = work()
        seconds.append(time.perf_counter() - start)
    return result, seconds


def export_module(args: argparse.Namespace) -> dict:
    """A module as one graph of fixed sizes, as torch.onnx.export writes it, beside the inputs."""
    import torch
    from safetensors.torch import load_file

    name, given = MODULES[args.child][0], load_file(args.inputs)
    module = module_of(args, name, torch.float32)

    class Called(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.module = module

        def forward(self, *tensors):
            return call(self.module, name, dict(zip(given, tensors)))

    torch.onnx.export(Called().eval(), tuple(given.values()), exported(args), input_names=list(given), dynamo=True,
                      external_data=True, verbose=False)
    return {}


def run_exported(args: argparse.Namespace) -> dict:
    """Runs that graph on ONNX Runtime with its default optimisations."""
    import onnxruntime
    from safetensors.numpy import load_file, save_file

    given, output = load_file(args.inputs), MODULES[args.child][3]
    start = time.perf_counter()
    session = opened_on_ort(exported(args), args.threads)
    opened = time.perf_counter() - start
    taken = {port.name: given[port.name] for port in session.get_inputs()}
    result, seconds = timed(lambda: session.run(None, taken)[0], args.repeat)
    save_file({output: result}, args.outputs)
    return {"seconds": seconds, "open": opened, "runtime": f"onnx runtime {onnxruntime.__version__}"}


def opened_on_ort(model: str | bytes, threads: int):
    """A graph, by its path or its bytes, on ONNX Runtime's CPU with its default optimisations."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    return onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])


def exported(args: argparse.Namespace) -> str:
    return str(Path(args.inputs).with_name("plain.onnx"))


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


class FirstStep(Exception):
    """Raised when the UNet is called first, where only the way there is measured."""


def run_prompted(args: argparse.Namespace) -> dict:
    """Runs diffusers' pipelines from the prompt."""
    import torch
    from diffusers import DDIMScheduler, KandinskyPipeline, KandinskyPriorPipeline
    from diffusers.utils import logging
    from safetensors.torch import save_file

    logging.disable_progress_bar()
    draw_noise_in_fp32()
    start, stage, seen, times = time.perf_counter(), args.child, {}, {}
    prior = KandinskyPriorPipeline.from_pretrained(repository(args.checkpoint, "prior"), torch_dtype=dtype_of(args))
    decoder = None
    if stage != "prior":
        decoder = KandinskyPipeline.from_pretrained(repository(args.checkpoint, "unet"), torch_dtype=dtype_of(args))
        decoder.scheduler = DDIMScheduler.from_config(decoder.scheduler.config)
        decoder.unet.to(memory_format=torch.channels_last)
        decoder.movq.to(memory_format=torch.channels_last)
    for pipeline in filter(None, (prior, decoder)):
        pipeline.set_progress_bar_config(disable=True)
    opened = time.perf_counter() - start

    def before_prior(*_):
        times.setdefault("prior", time.perf_counter())

    def after_prior(*_):
        times["prior_end"] = time.perf_counter()

    def before_unet(_module, _args, given):
        seen.setdefault("began", time.time())
        # The second row is the prompt's.
        seen.setdefault("image_embeds", given["added_cond_kwargs"]["image_embeds"][1:].float().clone())
        if stage in ("first_step", "cold"):
            raise FirstStep

    prior.prior.register_forward_pre_hook(before_prior)
    prior.prior.register_forward_hook(after_prior)
    if decoder:
        decoder.unet.register_forward_pre_hook(before_unet, with_kwargs=True)
        decode = decoder.movq.decode
        decoder.movq.decode = lambda latents, **given: (seen.__setitem__("latents", latents.float().clone()),
                                                        decode(latents, **given))[1]
    seconds = []
    for run in range(args.repeat + (stage in ("prior", "first_step"))):
        times.clear()
        start = time.perf_counter()
        once_through(args, prior, decoder, seen)
        seconds.append(times["prior_end"] - times["prior"] if stage == "prior" else time.perf_counter() - start)
    if stage in ("prior", "first_step"):
        seconds = seconds[1:]  # the first was to get warm
    save_file({PROMPTED[stage]: seen[PROMPTED[stage]].contiguous()}, args.outputs)
    return {"seconds": seconds, "open": opened, "began": seen.get("began")}


def draw_noise_in_fp32() -> None:
    """In a narrower type torch draws other noise from the same seed, and nothing could be compared."""
    import torch
    from diffusers.pipelines.kandinsky import pipeline_kandinsky, pipeline_kandinsky_prior
    from diffusers.schedulers import scheduling_unclip
    from diffusers.utils.torch_utils import randn_tensor

    def wide(*args, dtype=None, **given):
        return randn_tensor(*args, dtype=torch.float32, **given).to(dtype)

    for module in (pipeline_kandinsky, pipeline_kandinsky_prior, scheduling_unclip):
        module.randn_tensor = wide


def once_through(args: argparse.Namespace, prior, decoder, seen: dict) -> None:
    import torch

    generator = torch.Generator("cpu").manual_seed(args.seed)
    embed, negative = prior(PROMPT, num_inference_steps=args.prior_steps, guidance_scale=GUIDANCE, generator=generator,
                            return_dict=False)
    if not decoder:
        seen["image_embeds"] = embed.float().clone()
        return
    side = args.latents * 8
    try:
        decoder(PROMPT, image_embeds=embed, negative_image_embeds=negative, width=side, height=side, output_type="pt",
                num_inference_steps=args.steps, guidance_scale=GUIDANCE, generator=generator)
    except FirstStep:
        pass


# Inputs and places.

def module_inputs(args: argparse.Namespace, stage: str) -> dict[str, np.ndarray]:
    """Standard normal inputs by the names of our graphs' contracts; sizes from the config files."""
    name = MODULES[stage][0]
    rng = np.random.default_rng([args.seed, sorted(module for module, *_ in MODULES.values()).index(name)])
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


def repository(checkpoint: Path, name: str) -> Path:
    names = ("kandinsky-2-1-prior", "prior") if name == "prior" else ("kandinsky-2-1", "decoder")
    for repository in names:
        if (checkpoint / repository / name).is_dir():
            return checkpoint / repository
    sys.exit(f"{checkpoint} has no {' or '.join(f'{r}/{name}' for r in names)}")


def component_folder(checkpoint: Path, name: str) -> Path:
    return repository(checkpoint, name) / name


# Results.

def machine() -> dict:
    def field(file: str, key: str) -> str:
        lines = Path(file).read_text().splitlines()
        return next((line.split(":", 1)[1].strip() for line in lines if line.startswith(key)), "unknown")

    known = ("avx2", "avx512f", "avx512_vnni", "avx512_bf16", "amx_int8", "amx_bf16")
    flags = field("/proc/cpuinfo", "flags").split()
    return {"cpu": field("/proc/cpuinfo", "model name"), "cores": os.cpu_count(),
            "features": [feature for feature in known if feature in flags],
            "memory": field("/proc/meminfo", "MemTotal"), "system": f"{platform.system()} {platform.release()}"}


def versions(args: argparse.Namespace) -> dict:
    ours = subprocess.run([args.kandinsky, "--version"], check=True, stdout=subprocess.PIPE, text=True)
    packages = ("torch", "diffusers", "transformers", "safetensors", "numpy")
    return {"kandinsky": ours.stdout.split()[-1], "python": platform.python_version(),
            **{package: version(package) for package in packages}}


def command() -> str:
    """How to do it again, without this machine's paths."""
    paths, words = {"--checkpoint", "--model", "--kandinsky", "--results"}, ["python", "benches/compare_diffusers.py"]
    for before, word in zip(sys.argv, sys.argv[1:]):
        name, equals, _ = word.partition("=")
        if name in paths and equals:
            word = f"{name}={name.lstrip('-').upper()}"
        words.append(before.lstrip("-").upper() if before in paths else word)
    return " ".join(words)


def earlier(args: argparse.Namespace) -> dict:
    """The record to add to: that of an earlier run on the same machine and versions, else a new one."""
    record = {"machine": machine(), "versions": versions(args), "stages": {}}
    file = args.results / "compare_diffusers.json" if args.results else None
    if file and file.exists():
        known = json.loads(file.read_text())
        if all(known[key] == record[key] for key in ("machine", "versions")):
            record["stages"] = known["stages"]
        else:
            print(f"{file} is of another machine or other versions and begins anew", file=sys.stderr)
    return record


def write(folder: Path, record: dict) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for name, text in (("json", json.dumps(record, indent=2) + "\n"), ("md", markdown(record))):
        part = folder / f"compare_diffusers.{name}.part"
        part.write_text(text)
        part.replace(folder / f"compare_diffusers.{name}")


def markdown(record: dict) -> str:
    m, v = record["machine"], record["versions"]
    lines = ["# Ours against diffusers on the same weights", "",
             f"{m['cpu']} ({' '.join(m['features'])}), {m['cores']} cores, {m['memory']}, {m['system']}.  ",
             ", ".join(f"{name} {number}" for name, number in v.items()) + ".", "",
             "| stage | side | open, s | once a prompt, s | median, s | spread | × diffusers fp32 | peak, MB "
             "| private, MB | relative L2 | guided |",
             "| --- | --- | ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: |"]
    for stage in sorted(record["stages"], key=lambda name: STAGES.index(name.partition(",")[0])):
        found = record["stages"][stage]["sides"]
        reference = found["diffusers fp32"]["seconds"]
        for side, s in found.items():
            error = [f"{s[key]:.1e}" if key in s and side != "diffusers fp32" else ""
                     for key in ("relative_l2", "relative_l2_guided")]
            lines.append(f"| {stage} | {side} | {s['open_seconds']:.1f} | {s['once_a_prompt_seconds']:.3f} "
                         f"| {s['seconds']:.3f} | {s['spread']:.0%} | {reference / s['seconds']:.2f} "
                         f"| {s['peak_bytes'] / 1e6:,.0f} | {s['anonymous_bytes'] / 1e6:,.0f} | {error[0]} | {error[1]} |")
    lines += ["", "Medians; spread is from the shortest to the longest run. Peak memory is VmHWM of a process, libraries and "
              "mapped weights included; private is the most RssAnon that was sampled. Errors are against diffusers in "
              "fp32 and, of two rows, also of what guidance makes of them. diffusers computes in each step what our "
              "graphs compute once a prompt.", ""]
    for stage, found in record["stages"].items():
        runtimes = {turn["runtime"] for side in found["sides"].values() for turn in side["turns"] if "runtime" in turn}
        lines.append(f"- {stage}: {found['date']}, load before {found['load_before']:.1f}, {found['threads']} threads, "
                     f"{found['repeat']} runs a side; compared: {found['compared']}; {'; '.join(sorted(runtimes))}; "
                     f"`{found['command']}`")
    return "\n".join([*lines, ""])


if __name__ == "__main__":
    sys.exit(main())
