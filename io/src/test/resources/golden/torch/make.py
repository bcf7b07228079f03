"""Writes the files beside it: what torch.save makes of a few tensors, and what a hostile pickle looks like.

Run with PyTorch 2.13 and safetensors in this folder: python make.py
"""

import argparse
import collections
import datetime
import os
import pathlib
import sys
import types
from collections import OrderedDict

import numpy
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


def foreign(module, name, base=object):
    """A class that pickles name as one of a package that need not be installed."""
    made = type(name, (base,), {"__module__": module})
    for depth in range(1, module.count(".") + 2):
        part = ".".join(module.split(".")[:depth])
        sys.modules.setdefault(part, types.ModuleType(part))
    setattr(sys.modules[module], name, made)
    return made


ModelCheckpoint = foreign("pytorch_lightning.callbacks.model_checkpoint", "ModelCheckpoint")
AttributeDict = foreign("pytorch_lightning.utilities.parsing", "AttributeDict", dict)
DictConfig = foreign("omegaconf.dictconfig", "DictConfig")
config = DictConfig()
config._content = {"lr": 1e-4}
config._parent = config  # in a circle
trained = {
    "epoch": 3,
    "big": 2**70,
    "rate": 0.1,
    "flags": [True, False, None, "grün", b"bytes", {1, 2}, frozenset([3]), (4,), bytearray(b"5")],
    "global_step": torch.tensor(470000),
    "best": numpy.float64(0.25),
    "scores": numpy.arange(3),
    "hyper_parameters": AttributeDict(lr=1e-4, betas=(0.9, 0.999), config=config),
    "args": argparse.Namespace(out=pathlib.PurePosixPath("runs/1"), started=datetime.datetime(2026, 1, 2)),
    "counts": collections.defaultdict(list, seen=[1]),
    "size": torch.Size([1, 2]),
    "device": torch.device("cpu"),
    "dtype": torch.float16,
    "callbacks": {ModelCheckpoint: {"monitor": "val/loss", "best": torch.tensor(0.5)}, "x": ModelCheckpoint()},
    "optimizer_states": [{"state": {0: {"exp_avg": torch.ones(2)}, "named": {"exp_avg": torch.ones(3)}}}],
    "lr_schedulers": [{"last": torch.ones(1), "base_lrs": torch.ones(2)}],
    "ema": {"state_dict": {"weight": base + 1, "bias": base[0] + 1}},
    "model": {"module": {"state_dict": {"weight": base, "bias": torch.nn.Parameter(base[0].clone())}}},
}
for protocol in (1, 2, 4, 5):
    torch.save(trained, f"trained-{protocol}.ckpt", pickle_protocol=protocol)
