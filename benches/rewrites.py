#!/usr/bin/env python3
"""Times drawings of one network against each other: ONNX Runtime f32, OpenVINO f32 and bf16, one process a call.

Each FOLDER holds graphs that `cargo run --release -p kandinsky-export --example draw_one` drew of one checkpoint
with other rewrites. The folders take turns, and of every folder and runtime the least time counts. Time is processor time
over threads, so that a machine that others use as well tells of the drawings and not of them; threads do not spin
while they wait. Prints a table of seconds a call and of the distance of outputs
to the first folder's on the same runtime (greatest difference over greatest value).
Needs numpy, onnxruntime and openvino.
"""

import argparse
import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

RUNTIMES = ("ort", "openvino-f32", "openvino-bf16")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("graph", help="such as unet_step")
    parser.add_argument("folders", nargs="+", type=Path, metavar="FOLDER")
    parser.add_argument("--latents", type=int, default=64, help="side of the latents (default: 64)")
    parser.add_argument("--batch", type=int, default=2, help="rows (default: 2, the two of guidance)")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--repeat", type=int, default=3, help="calls a turn")
    parser.add_argument("--turns", type=int, default=2)
    parser.add_argument("--runtimes", default=",".join(RUNTIMES))
    parser.add_argument("--child", nargs=2, help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.child:
        return child(args, *args.child)
    print("| drawing | " + " | ".join(f"{r}, s | distance" for r in args.runtimes.split(",")) + " |")
    print("| --- |" + " ---: | ---: |" * len(args.runtimes.split(",")))
    times, outputs = {}, {}
    for _ in range(args.turns):
        for runtime in args.runtimes.split(","):
            for folder in args.folders:
                took, output = run(args, runtime, folder)
                times[folder, runtime] = min(took, times.get((folder, runtime), took))
                outputs[folder, runtime] = output
    for folder in args.folders:
        cells = []
        for runtime in args.runtimes.split(","):
            first = outputs[args.folders[0], runtime]
            distance = np.abs(outputs[folder, runtime] - first).max() / np.abs(first).max()
            cells.append(f"{times[folder, runtime]:.4f} | {distance:.1e}")
        print(f"| {folder.name} | " + " | ".join(cells) + " |")


def run(args: argparse.Namespace, runtime: str, folder: Path) -> tuple[float, np.ndarray]:
    with tempfile.TemporaryDirectory() as scratch:
        out = Path(scratch) / "out.npy"
        own = ["--latents", args.latents, "--batch", args.batch, "--threads", args.threads, "--repeat", args.repeat]
        command = [sys.executable, __file__, args.graph, folder, *own, "--child", runtime, out]
        done = subprocess.run([str(part) for part in command], check=True, capture_output=True, text=True)
        took = json.loads(done.stdout.splitlines()[-1])
        print(f"{folder.name} {runtime}: {took}", file=sys.stderr)
        return min(took), np.load(out)


def child(args: argparse.Namespace, runtime: str, out: str) -> None:
    path = args.folders[0] / f"{args.graph}.onnx"
    call = ort(args, path) if runtime == "ort" else openvino(args, path, runtime.removeprefix("openvino-"))
    call()
    took = []
    for _ in range(args.repeat):
        start = time.process_time()
        result = call()
        took.append(round((time.process_time() - start) / args.threads, 4))
    np.save(out, result)
    print(json.dumps(took))


def side(text, args: argparse.Namespace) -> int:
    if isinstance(text, int):
        return text
    if text.startswith("batch"):
        return args.batch
    if text.startswith("tokens"):
        return 77 + int(text.partition("+")[2] or 0)
    factor = text.partition("*")[0] if "*" in text else "1"
    multiple = args.latents if factor == "1" else args.latents // int(factor) * int(factor)
    return multiple


def inputs(args: argparse.Namespace, ports: list[tuple[str, list]]) -> dict[str, np.ndarray]:
    rng = np.random.default_rng(1)
    made = {}
    for name, shape in ports:
        scale = 0.3 if name == "film" else 1.0
        made[name] = (scale * rng.standard_normal([side(s, args) for s in shape])).astype(np.float32)
    return made


def ports(path: Path) -> list[tuple[str, list]]:
    import onnx

    graph = onnx.load(path, load_external_data=False).graph
    sides = lambda port: [d.dim_param or d.dim_value for d in port.type.tensor_type.shape.dim]  # noqa: E731
    return [(port.name, sides(port)) for port in graph.input]


def ort(args: argparse.Namespace, path: Path):
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = args.threads
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    made = inputs(args, ports(path))
    for name, shape in ports(path):
        for symbol, number in zip(shape, made[name].shape):
            if isinstance(symbol, str) and symbol.isidentifier():
                options.add_free_dimension_override_by_name(symbol, number)
    session = onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    return lambda: session.run(None, made)[0]


def openvino(args: argparse.Namespace, path: Path, precision: str):
    import openvino as ov

    model = ov.Core().read_model(path)
    made = inputs(args, ports(path))
    model.reshape({name: value.shape for name, value in made.items()})
    settings = {"INFERENCE_NUM_THREADS": args.threads, "INFERENCE_PRECISION_HINT": precision, "NUM_STREAMS": 1}
    request = ov.Core().compile_model(model, "CPU", settings).create_infer_request()
    return lambda: request.infer(made)[0].copy()


if __name__ == "__main__":
    main()
