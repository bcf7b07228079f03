"""One step of a U-Net in ONNX Runtime: python onnx_runtime.py emoji-step|sd1-step MODEL DTYPE REPETITIONS.

Exports diffusers' U-Net once to $ONNX_DIR (emoji-64's weights; random ones at the size of Stable Diffusion 1, of which
the export takes some 12 GB), then times guidance's pair on the CPU provider. Needs torch, diffusers, onnx, onnxscript and onnxruntime.
Prints as side_by_side.py does.
"""
import os
import resource
import subprocess
import sys
import time

work, model, dtype, repetitions = sys.argv[1], sys.argv[2], sys.argv[3], int(sys.argv[4])
if work not in ("emoji-step", "sd1-step"):
    sys.exit(f"there is no work called {work} for ONNX Runtime")
if dtype != "float32":
    sys.exit("ONNX Runtime's CPU provider computes in float32")
side, tokens = (8, 16) if work == "emoji-step" else (64, 77)
file = os.path.join(os.environ["ONNX_DIR"], work, "unet.onnx")


def export():
    import torch
    from diffusers import UNet2DConditionModel

    if work == "emoji-step":
        unet = UNet2DConditionModel.from_pretrained(model, subfolder="unet")
    else:
        unet = UNet2DConditionModel(sample_size=64, cross_attention_dim=768)
    width = unet.config.cross_attention_dim
    text = torch.randn(2, tokens, width if isinstance(width, int) else width[0])
    sample = torch.randn(2, unet.config.in_channels, side, side)
    os.makedirs(os.path.dirname(file), exist_ok=True)
    torch.onnx.export(
        unet.eval(),
        (sample, torch.full((2,), 500), text),
        file,
        input_names=["sample", "timestep", "text"],
        dynamo=True,
        external_data=True,
        verbose=False,
    )


if len(sys.argv) > 5:
    export()
    sys.exit()
if not os.path.exists(file):  # in a process of its own: its memory is not that of drawing
    subprocess.run([sys.executable, *sys.argv, "export"], check=True, stdout=sys.stderr)

import numpy
import onnxruntime

options = onnxruntime.SessionOptions()
options.intra_op_num_threads = len(os.sched_getaffinity(0))
session = onnxruntime.InferenceSession(file, options, providers=["CPUExecutionProvider"])
random = numpy.random.default_rng(0)
feeds = {}
for each in session.get_inputs():
    if each.name == "timestep":
        feeds[each.name] = numpy.full(each.shape, 500, dtype=numpy.int64)
    else:
        feeds[each.name] = random.standard_normal(each.shape, dtype=numpy.float32)
for i in range(repetitions + 1):
    start = time.perf_counter()
    session.run(None, feeds)
    if i > 0:
        print(f"{time.perf_counter() - start:.5f}")
print(f"peak {resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024:.0f}")
