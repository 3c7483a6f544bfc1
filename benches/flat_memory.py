#!/usr/bin/env python3
"""Memory over many pictures in one process, through the C library: `flat_memory.py LIBRARY MODEL [OPTIONS]`.

Draws --pictures pictures of two steps with one engine and prints what is resident after each, all of it and the private
part, the most there ever was (VmHWM), and the most private memory that was sampled while they were drawn. Fails when the
last five hold more than --slack over those after the second: encodings are kept up to 64 MB, and each picture has new ones.
"""

import argparse
import json
import sys
import threading
import time
from ctypes import byref, c_size_t, c_uint64
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent.parent / "examples/python"))
from draw import Kandinsky, text  # noqa: E402


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("library", help="libkandinsky.so")
    parser.add_argument("model", help="a model folder")
    parser.add_argument("--options", default='{"runtime":"ort"}', help="of the engine, in JSON (default: %(default)s)")
    parser.add_argument("--pictures", type=int, default=20)
    parser.add_argument("--size", default="512x512")
    parser.add_argument("--slack", type=float, default=72, help="in MB (default: 72)")
    args = parser.parse_args()
    options = json.dumps(json.loads(args.options)).encode()

    call = Kandinsky(args.library)
    engine, private = c_uint64(), [0.0]
    threading.Thread(target=sample, args=(private,), daemon=True).start()
    call("kd_engine_open", *text(args.model), options, c_size_t(len(options)), byref(engine))
    held = []
    for number in range(args.pictures):
        draw(call, engine, number, args.size)
        now = memory()
        held.append(now["VmRSS"])
        print(f"{number + 1:3}: {now['VmRSS']:,.0f} MB resident, {now['RssAnon']:,.0f} MB private", flush=True)
    growth = max(held[-5:]) - held[1]
    print(f"peak {memory()['VmHWM']:,.0f} MB, private at most {private[0]:,.0f} MB; the last five hold at most "
          f"{growth:,.1f} MB more than the second")
    return int(growth > args.slack)


def draw(call: Kandinsky, engine: c_uint64, seed: int, size: str) -> None:
    request, picture = c_uint64(), c_uint64()
    call("kd_request_new", byref(request))
    settings = {"prompt": "red cat, 4k photo", "steps": "2", "prior_steps": "2", "seed": str(seed), "size": size}
    for key, value in settings.items():
        call("kd_request_set", request, *text(key), *text(value))
    call("kd_engine_run", engine, request, byref(picture))
    for kind, handle in (("picture", picture), ("request", request)):
        getattr(call.library, f"kd_{kind}_free")(handle)


def memory() -> dict[str, float]:
    """This process's, in MB."""
    lines = (line.split() for line in Path("/proc/self/status").read_text().splitlines())
    return {words[0].rstrip(":"): int(words[1]) * 1024 / 1e6 for words in lines if words and words[-1] == "kB"}


def sample(private: list[float]) -> None:
    while True:
        private[0] = max(private[0], memory()["RssAnon"])
        time.sleep(0.1)


if __name__ == "__main__":
    sys.exit(main())
