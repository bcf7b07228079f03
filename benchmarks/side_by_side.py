"""The work of SideBySide.java in PyTorch and diffusers: python side_by_side.py WORK MODEL DTYPE REPETITIONS.

Needs torch, diffusers, transformers and safetensors. Prints the seconds of each repetition, then the peak memory in MB.
"""
import resource
import sys
import time

started = time.perf_counter()
import torch
from diffusers import AutoencoderKL, DDIMScheduler, StableDiffusionPipeline, UNet2DConditionModel

GUIDANCE = 7.5
work, model, dtype, repetitions = sys.argv[1], sys.argv[2], getattr(torch, sys.argv[3]), int(sys.argv[4])


def timed(times, run):
    for i in range(1 if times == 1 else 0, times + 1):
        start = time.perf_counter()
        run()
        if i > 0:
            print(f"{time.perf_counter() - start:.5f}")


def pipeline():
    loaded = StableDiffusionPipeline.from_pretrained(model, torch_dtype=dtype, safety_checker=None, feature_extractor=None)
    loaded.scheduler = DDIMScheduler.from_config(loaded.scheduler.config)
    loaded.set_progress_bar_config(disable=True)
    return loaded


def draw(pipe, pictures, steps):
    generators = [torch.Generator().manual_seed(seed) for seed in range(pictures)]
    pipe(["red apple"] * pictures, num_inference_steps=steps, guidance_scale=GUIDANCE, generator=generators)


def drawing(pictures, steps):
    pipe = pipeline()
    timed(repetitions, lambda: draw(pipe, pictures, steps))


def step(unet, side, tokens):
    x = torch.randn(2, unet.config.in_channels, side, side, dtype=dtype)
    width = unet.config.cross_attention_dim
    text = torch.randn(2, tokens, width[0] if isinstance(width, (list, tuple)) else width, dtype=dtype)
    with torch.no_grad():
        timed(repetitions, lambda: unet(x, torch.full((2,), 500), text))


def training(batch, lora):
    unet = UNet2DConditionModel.from_pretrained(model, subfolder="unet").train()
    if lora:
        from peft import LoraConfig

        unet.requires_grad_(False)
        unet.add_adapter(LoraConfig(r=8, lora_alpha=8, target_modules=["to_q", "to_k", "to_v", "to_out.0"]))
    weights = [p for p in unet.parameters() if p.requires_grad]
    optimiser = torch.optim.AdamW(weights, lr=1e-5)
    x = torch.randn(batch, unet.config.in_channels, 8, 8)
    width = unet.config.cross_attention_dim
    text = torch.randn(batch, 16, width[0] if isinstance(width, (list, tuple)) else width)
    times = torch.arange(batch) * 7 % 1000

    def once():
        optimiser.zero_grad()
        with torch.autocast("cpu", dtype=dtype, enabled=dtype != torch.float32):
            y = unet(x, times, text).sample.float()
        (y - x).square().mean().backward()
        torch.nn.utils.clip_grad_norm_(weights, 1.0)
        optimiser.step()

    timed(repetitions, once)


if work == "first-picture":
    timed(1, lambda: draw(pipeline(), 1, 4))
elif work == "emoji-1":
    drawing(1, 50)
elif work == "emoji-16":
    drawing(16, 25)
elif work == "emoji-step":
    step(UNet2DConditionModel.from_pretrained(model, subfolder="unet", torch_dtype=dtype), 8, 16)
elif work in ("emoji-train-32", "emoji-train-64"):
    training(int(work[-2:]), False)
elif work == "emoji-lora-64":
    training(64, True)
elif work == "sd1-step":
    step(UNet2DConditionModel(sample_size=64, cross_attention_dim=768).to(dtype), 64, 77)
elif work == "sd1-decode":
    vae = AutoencoderKL(
        block_out_channels=(128, 256, 512, 512),
        layers_per_block=2,
        latent_channels=4,
        down_block_types=["DownEncoderBlock2D"] * 4,
        up_block_types=["UpDecoderBlock2D"] * 4,
    ).to(dtype)
    z = torch.randn(1, 4, 64, 64, dtype=dtype)
    with torch.no_grad():
        timed(repetitions, lambda: vae.decode(z))
else:
    sys.exit(f"there is no work called {work}")
print(f"peak {resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024:.0f}")
