#!/usr/bin/env python3
"""Whether 8-bit weights pay on a CPU: a product of the prior in f32 and with 8-bit weights, on ONNX Runtime.

The rows are those of a prior step with guidance (2 x 3 tokens), of its prefix (2 prompts of 77 tokens), and of a UNet's
attention (2 x 1024). Weights are in blocks of 32 with a scale each (MatMulNBits); activations stay f32 ("weights") or are
rounded to 8 bits a block as well ("both"). Times are the least of --repeat calls; errors are relative L2 to f32.
Needs numpy, onnx and onnxruntime.
"""

import argparse

import numpy as np
import onnxruntime
from compare_diffusers import opened_on_ort, relative_l2, timed
from onnx import TensorProto, helper, numpy_helper

BLOCK = 32
# Rows, and the sides of the weights: the prior's feed-forward is the largest of its products.
PRODUCTS = {"prior step": (6, 2048, 8192), "prior prefix": (154, 2048, 8192), "UNet attention": (2048, 768, 768)}
# The operator's `accuracy_level`: 1 computes in f32, 4 in int8.
FORMS = {"f32": None, "8-bit weights": 1, "8-bit both": 4}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--repeat", type=int, default=30)
    args = parser.parse_args()
    print(f"onnx runtime {onnxruntime.__version__}, {args.threads} threads")
    print("| product | form | ms | × f32 | relative L2 |")
    print("| --- | --- | ---: | ---: | ---: |")
    rng = np.random.default_rng(1)
    for name, (rows, inner, outer) in PRODUCTS.items():
        x = rng.standard_normal((rows, inner), dtype=np.float32)
        weights = rng.standard_normal((inner, outer), dtype=np.float32) / np.float32(np.sqrt(inner))
        base, expected = None, None
        for form, level in FORMS.items():
            session = open_product(weights, level, args.threads)
            result, seconds = timed(lambda: session.run(None, {"x": x})[0], args.repeat)
            took = min(seconds)
            base, expected = base or took, result if expected is None else expected
            error = relative_l2(result, expected)
            print(f"| {name} ({rows}, {inner}, {outer}) | {form} | {took * 1e3:.2f} | {base / took:.2f} | {error:.1e} |")


def open_product(weights: np.ndarray, level: int | None, threads: int) -> onnxruntime.InferenceSession:
    inner, outer = weights.shape
    if level is None:
        node = helper.make_node("MatMul", ["x", "w"], ["y"])
        held = [numpy_helper.from_array(weights, "w")]
    else:
        blocks = weights.T.reshape(outer, inner // BLOCK, BLOCK)
        scales = np.abs(blocks).max(axis=2) / np.float32(127)
        rounded = (np.rint(blocks / scales[..., None]) + 128).astype(np.uint8)
        node = helper.make_node("MatMulNBits", ["x", "w", "s"], ["y"], domain="com.microsoft", K=inner, N=outer, bits=8,
                                block_size=BLOCK, accuracy_level=level)
        held = [numpy_helper.from_array(rounded, "w"), numpy_helper.from_array(scales, "s")]
    ports = [helper.make_tensor_value_info(name, TensorProto.FLOAT, [None, side]) for name, side in (("x", inner), ("y", outer))]
    graph = helper.make_graph([node], "product", ports[:1], ports[1:], held)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20), helper.make_opsetid("com.microsoft", 1)])
    model.ir_version = 9
    return opened_on_ort(model.SerializeToString(), threads)


if __name__ == "__main__":
    main()
