"""Writes the reference files of this folder: pip install torch numpy pillow safetensors; python make.py"""

import os

import numpy as np
import torch
from PIL import Image
from safetensors.torch import save_file

here = os.path.dirname(os.path.abspath(__file__))

tensors = {
    "f64": torch.tensor([[1.5, -2.25], [3e300, 0.0]], dtype=torch.float64),
    "f32": torch.arange(6, dtype=torch.float32).reshape(2, 3) / 7,
    "f16": torch.tensor([0.1, -65504.0, 1e-7], dtype=torch.float16),
    "bf16": torch.tensor([0.1, -3e38, 1e-30], dtype=torch.bfloat16),
    "i64": torch.tensor([-(2**63), 2**63 - 1]),
    "i32": torch.tensor([-(2**31), 7], dtype=torch.int32),
    "i16": torch.tensor([-32768, 5], dtype=torch.int16),
    "i8": torch.tensor([-128, 127], dtype=torch.int8),
    "u8": torch.tensor([0, 255, 3], dtype=torch.uint8),
    "bool": torch.tensor([True, False, True]),
    "scalar": torch.tensor(2.5),
    "empty": torch.zeros(0, 3),
}
save_file(tensors, f"{here}/python.safetensors", metadata={"note": "grüße ☂", "format": "pt"})

picture = np.random.default_rng(0).integers(0, 256, (20, 30, 3), dtype=np.uint8)
resized = {"source": torch.from_numpy(picture)}
for name, size in {"small": (7, 9), "large": (41, 33), "mixed": (13, 40)}.items():
    image = Image.fromarray(picture).resize(size, Image.BICUBIC)
    resized[name] = torch.from_numpy(np.array(image))
save_file(resized, f"{here}/resize.safetensors")
