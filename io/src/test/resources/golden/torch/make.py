"""Writes the files beside it: what torch.save makes of a few tensors, and what a hostile pickle looks like.

Run with PyTorch 2.13 and safetensors in this folder: python make.py
"""

import os
from collections import OrderedDict

import torch
from safetensors.torch import save_file

torch.manual_seed(0)
base = torch.randn(4, 6)
tensors = OrderedDict(
    f64=torch.tensor([1.5, -2.25, 3e300], dtype=torch.float64),
    f32=base,
    f16=torch.tensor([0.5, -65504.0]).half(),
    bf16=torch.tensor([0.1, 3.0]).bfloat16(),
    i64=torch.tensor([-(2**63), 2**63 - 1]),
    i32=torch.tensor([-(2**31), 7], dtype=torch.int32),
    i16=torch.tensor([-32768, 5], dtype=torch.int16),
    i8=torch.tensor([-128, 127], dtype=torch.int8),
    u8=torch.tensor([0, 255], dtype=torch.uint8),
    bool=torch.tensor([True, False]),
    scalar=torch.tensor(2.5),
    empty=torch.zeros(0, 3),
    transposed=base.t(),  # these four share the storage of f32
    rows=base[1:3],
    columns=base[:, 2:4],
    repeated=base[0].expand(3, 6),
    channels_last=torch.randn(1, 2, 3, 2).contiguous(memory_format=torch.channels_last),
    parameter=torch.nn.Parameter(torch.randn(3)),
)
tensors._metadata = {"": {"version": 1}}  # as Module.state_dict has it
save_file({k: v.detach().clone().contiguous() for k, v in tensors.items()}, "expected.safetensors")
torch.save(tensors, "zip.bin")
torch.save(tensors, "legacy.bin", _use_new_zipfile_serialization=False)
checkpoint = {
    "state_dict": {"weight": base, "note": "no tensor"},
    "optimizer": {"state": {0: {"step": 3, "exp_avg": torch.ones(2)}}, "lr": 1e-4},
    "epoch": 3,
    "global_step": 470000,
}
torch.save(checkpoint, "checkpoint.ckpt")
torch.save(checkpoint, "legacy.ckpt", _use_new_zipfile_serialization=False)


class Hostile:
    def __reduce__(self):
        return os.system, ("touch perflow-was-here",)


torch.save({"weight": base, "x": Hostile()}, "hostile.bin")
torch.save({"weight": base, "x": Hostile()}, "hostile-legacy.bin", _use_new_zipfile_serialization=False)
