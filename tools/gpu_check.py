"""What `perflow benchmark` does, in PyTorch and diffusers: python gpu_check.py draw|train|lora MODEL DEVICE DTYPE SIZE.

MODEL is sd1 or sdxl, with random weights, or a diffusers folder. Prints seconds and peak memory in GB. Drawing is four
U-Net steps and the decoder, without guidance; a training step is two of the teacher, one of the student with gradient
checkpointing, clipping, AdamW on float32 weights and their average, or of low-rank factors (rank 32) alone. The first time
is not measured on a GPU.
"""
import copy
import resource
import sys
import time

import torch
from diffusers import AutoencoderKL, UNet2DConditionModel

work, model, device, dtype, size = sys.argv[1], sys.argv[2], sys.argv[3], getattr(torch, sys.argv[4]), int(sys.argv[5])
on_gpu = device.startswith("cuda")

SIZES = {
    "sd1": dict(cross_attention_dim=768, attention_head_dim=8),
    "sdxl": dict(
        block_out_channels=(320, 640, 1280),
        down_block_types=("DownBlock2D", "CrossAttnDownBlock2D", "CrossAttnDownBlock2D"),
        up_block_types=("CrossAttnUpBlock2D", "CrossAttnUpBlock2D", "UpBlock2D"),
        transformer_layers_per_block=(1, 2, 10),
        attention_head_dim=(5, 10, 20),
        cross_attention_dim=2048,
        use_linear_projection=True,
        addition_embed_type="text_time",
        addition_time_embed_dim=256,
        projection_class_embeddings_input_dim=2816,
    ),
}


def unet(kept):
    if model not in SIZES:
        return UNet2DConditionModel.from_pretrained(model, subfolder="unet", torch_dtype=kept).to(device)
    with torch.device(device):
        return UNet2DConditionModel(**SIZES[model]).to(kept)


def vae(kept):
    if model not in SIZES:
        return AutoencoderKL.from_pretrained(model, subfolder="vae", torch_dtype=kept).to(device)
    with torch.device(device):
        return AutoencoderKL(
            block_out_channels=(128, 256, 512, 512),
            layers_per_block=2,
            latent_channels=4,
            down_block_types=["DownEncoderBlock2D"] * 4,
            up_block_types=["UpDecoderBlock2D"] * 4,
        ).to(kept)


def told(config, kept):
    """Captions of one picture."""
    width = config.cross_attention_dim
    text = torch.randn(1, 77, width if isinstance(width, int) else width[0], device=device, dtype=kept)
    added = None
    if config.addition_embed_type == "text_time":
        pooled = torch.randn(1, 1280, device=device, dtype=kept)
        sizes = torch.tensor([[size, size, 0, 0, size, size]], device=device, dtype=kept)
        added = {"text_embeds": pooled, "time_ids": sizes}
    return {"encoder_hidden_states": text, "added_cond_kwargs": added}


def measured(run):
    for again in range(2 if on_gpu else 1):
        if on_gpu:
            torch.cuda.synchronize()
        start = time.perf_counter()
        run()
        if on_gpu:
            torch.cuda.synchronize()
    seconds = time.perf_counter() - start
    peak = torch.cuda.max_memory_allocated() if on_gpu else resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    print(f"{seconds:.4f} {peak / 1e9:.2f}")


def drawing():
    net, decoder = unet(dtype), vae(dtype)
    caption = told(net.config, dtype)
    side = size // 2 ** (len(decoder.config.block_out_channels) - 1)

    @torch.no_grad()
    def run():
        z = torch.randn(1, net.config.in_channels, side, side).to(device)
        for step in range(4):
            z = z - 0.1 * net(z.to(dtype), 999 - 250 * step, **caption).sample.float()
        decoder.decode(z.to(dtype)).sample.cpu()

    measured(run)


def training(low_rank):
    net = unet(torch.float32)
    teacher = net if low_rank else copy.deepcopy(net).to(dtype)
    if low_rank:
        from peft import LoraConfig

        net.requires_grad_(False)
        net.add_adapter(
            LoraConfig(r=32, lora_alpha=32, target_modules=["to_q", "to_k", "to_v", "to_out.0", "proj_in", "proj_out"])
        )
    net.enable_gradient_checkpointing()
    net.train()
    weights = [p for p in net.parameters() if p.requires_grad]
    averages = [p.detach().clone() for p in weights]
    optimiser = torch.optim.AdamW(weights, lr=1e-5)
    caption = told(net.config, torch.float32)
    pixels = 8 if model in SIZES else 2 ** (len(vae(dtype).config.block_out_channels) - 1)
    z = torch.randn(1, net.config.in_channels, size // pixels, size // pixels, device=device)

    def predicted(by, sample):
        with torch.autocast(device.split(":")[0], dtype=dtype, enabled=dtype != torch.float32):
            return by(sample, 500, **caption).sample.float()

    def run():
        with torch.no_grad():
            if low_rank:
                net.disable_adapters()
            end = z
            for _ in range(2):
                end = end - 0.1 * predicted(teacher, end)
            if low_rank:
                net.enable_adapters()
        optimiser.zero_grad()
        (predicted(net, z) - end).square().mean().backward()
        torch.nn.utils.clip_grad_norm_(weights, 1.0)
        optimiser.step()
        torch._foreach_lerp_(averages, [p.detach() for p in weights], 1e-3)

    measured(run)


if work == "draw":
    drawing()
else:
    training(work == "lora")
