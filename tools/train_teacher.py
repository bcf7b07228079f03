"""Trains models/emoji-64 in PyTorch, with the configuration and recipe of `perflow pretrain`.

The product needs no Python: this is how the shipped teacher was made, in 11 minutes for the VAE and
67 minutes for U-Net and text encoder on two CPU cores, and a second opinion on the Java training.

  python tools/train_teacher.py vae     --shards data/emoji-64/train-*.tar --seconds 620  --out vae
  python tools/train_teacher.py teacher --shards data/emoji-64/train-*.tar --seconds 4000 --out emoji-64 \
      --vae vae --tokenizer models/emoji-64/tokenizer

Needs torch, diffusers, transformers, safetensors, numpy, pillow.
"""

import argparse, io, json, math, os, shutil, tarfile, time
import numpy as np
import torch
from PIL import Image
from diffusers import AutoencoderKL, DDIMScheduler, UNet2DConditionModel
from diffusers.models.attention_processor import AttnProcessor
from transformers import CLIPTextConfig, CLIPTextModel, CLIPTokenizer

LENGTH = 32  # tokens of a caption


def read_shards(paths):
    """Pictures [N, 3, 64, 64] in [-1, 1] and their json members."""
    pictures, captions = [], []
    for path in paths:
        with tarfile.open(path) as tar:
            files = {m.name: tar.extractfile(m).read() for m in tar if m.isfile()}
        for name in sorted(n for n in files if n.endswith(".png")):
            image = Image.open(io.BytesIO(files[name])).convert("RGB")
            pictures.append(torch.from_numpy(np.array(image)))
            captions.append(json.loads(files[name[:-4] + ".json"]))
    return torch.stack(pictures).permute(0, 3, 1, 2).float() / 127.5 - 1, captions


def variants(c):
    """Four captions a picture, so that short prompts work as well as full ones."""
    tags = ", ".join(t for t in c["tags"] if t != c["label"])
    tail = ", " + tags if tags else ""
    style = c["style"].split()[0] + " emoji of "
    return [style + c["label"] + tail, c["label"], style + c["label"], c["label"] + tail]


def bf16():
    return torch.autocast("cpu", torch.bfloat16)


def train_vae(args):
    pictures, _ = read_shards(args.shards)
    vae = AutoencoderKL(
        down_block_types=["DownEncoderBlock2D"] * 3, up_block_types=["UpDecoderBlock2D"] * 3,
        block_out_channels=[16, 32, 64], layers_per_block=1, latent_channels=4, norm_num_groups=8, sample_size=64)
    vae = vae.to(memory_format=torch.channels_last)
    optimiser = torch.optim.AdamW(vae.parameters(), lr=2e-3, betas=(0.9, 0.99), weight_decay=1e-4)
    ema = {k: v.clone() for k, v in vae.state_dict().items()}
    start, n = time.time(), 0
    while (done := (time.time() - start) / args.seconds) < 1:
        for group in optimiser.param_groups:
            group["lr"] = 2e-3 * min(1, (n + 1) / 200) * max(0.01, 0.5 * (1 + math.cos(math.pi * done)))
        x = pictures[torch.randint(len(pictures), (16,))]
        x = x.flip(3) if n % 2 else x
        x = torch.roll(x, tuple(int(s) for s in np.random.randint(-3, 4, 2)), (2, 3))
        x = x.contiguous(memory_format=torch.channels_last)
        with bf16():
            posterior = vae.encode(x).latent_dist
            y = vae.decode(posterior.sample()).sample
        d = y.float() - x
        edges = (d[..., 1:] - d[..., :-1]).abs().mean() + (d[..., 1:, :] - d[..., :-1, :]).abs().mean()
        mean, logvar = posterior.mean.float(), posterior.logvar.float()
        kl = 0.5 * (mean.pow(2) + logvar.exp() - 1 - logvar).mean()
        loss = d.abs().mean() + d.pow(2).mean() + 0.5 * edges + 1e-3 * kl
        optimiser.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(vae.parameters(), 1.0)
        optimiser.step()
        n += 1
        with torch.no_grad():
            for k, v in vae.state_dict().items():
                ema[k].lerp_(v, 1 - min(0.998, (1 + n) / (10 + n)))
        if n % 100 == 0:
            print(n, f"loss {loss.item():.4f} L1 {d.abs().mean().item():.4f} KL {kl.item():.3f}", flush=True)
    vae.load_state_dict(ema)
    with torch.no_grad():
        z = torch.cat([vae.encode(x).latent_dist.sample() for x in pictures.split(128)])
    vae.register_to_config(scaling_factor=round(1 / z.std().item(), 5))
    vae.save_pretrained(args.out)


def train_teacher(args):
    pictures, captions = read_shards(args.shards)
    tokenizer = CLIPTokenizer.from_pretrained(args.tokenizer)
    tokenizer.model_max_length = LENGTH
    ids = lambda texts: tokenizer(
        texts, padding="max_length", truncation=True, max_length=LENGTH, return_tensors="pt").input_ids
    tokens = ids(sum([variants(c) for c in captions], [])).view(len(captions), 4, LENGTH)
    null = ids([""])[0]
    vae = AutoencoderKL.from_pretrained(args.vae).eval()
    with torch.no_grad():
        moments = torch.cat([vae._encode(x) for x in pictures.split(64)])
    mean, logvar = moments.chunk(2, 1)
    std = (0.5 * logvar.clamp(-30, 20)).exp()

    text = CLIPTextModel(CLIPTextConfig(
        vocab_size=len(tokenizer), hidden_size=192, intermediate_size=768, num_hidden_layers=3, num_attention_heads=4,
        max_position_embeddings=LENGTH, bos_token_id=len(tokenizer) - 2, eos_token_id=2, pad_token_id=1,
        projection_dim=192, attn_implementation="eager"))
    unet = UNet2DConditionModel(
        sample_size=16, block_out_channels=[96, 128, 192], layers_per_block=1,
        down_block_types=["DownBlock2D", "CrossAttnDownBlock2D", "CrossAttnDownBlock2D"],
        up_block_types=["CrossAttnUpBlock2D", "CrossAttnUpBlock2D", "UpBlock2D"],
        cross_attention_dim=192, attention_head_dim=4, norm_num_groups=16)
    unet.set_attn_processor(AttnProcessor())  # faster than the fused kernel on short sequences
    unet = unet.to(memory_format=torch.channels_last)
    scheduler = DDIMScheduler(
        beta_start=0.00085, beta_end=0.012, beta_schedule="scaled_linear", clip_sample=False,
        set_alpha_to_one=False, steps_offset=1, timestep_spacing="leading")
    alpha_bar = scheduler.alphas_cumprod
    params = [*unet.parameters(), *text.parameters()]
    optimiser = torch.optim.AdamW(params, lr=6e-4, betas=(0.9, 0.99), weight_decay=0.01, fused=True)
    ema = [p.detach().clone() for p in params]
    start, n, losses = time.time(), 0, []
    while (done := (time.time() - start) / args.seconds) < 1:
        for group in optimiser.param_groups:
            group["lr"] = 6e-4 * min(1, (n + 1) / 200) * (1 - done) ** 0.7
        i = torch.randint(len(captions), (64,))
        z = (mean[i] + std[i] * torch.randn(64, 4, 16, 16)) * vae.config.scaling_factor
        caption = tokens[i, torch.randint(4, (64,))]
        caption = torch.where((torch.rand(64) < 0.1)[:, None], null, caption)
        t, noise = torch.randint(1000, (64,)), torch.randn_like(z)
        a = alpha_bar[t].view(-1, 1, 1, 1)
        noisy = (a.sqrt() * z + (1 - a).sqrt() * noise).contiguous(memory_format=torch.channels_last)
        with bf16():
            prediction = unet(noisy, t, text(caption).last_hidden_state).sample
        weight = (5 * (1 - alpha_bar[t]) / alpha_bar[t]).clamp(max=1)  # min-SNR-5, arXiv 2303.09556
        loss = ((prediction.float() - noise).pow(2).mean((1, 2, 3)) * weight).mean()
        optimiser.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(params, 1.0)
        optimiser.step()
        n += 1
        losses.append(loss.item())
        with torch.no_grad():
            torch._foreach_lerp_(ema, params, 1 - min(0.9995, (1 + n) / (10 + n)))
        if n % 50 == 0:
            print(n, n * 64, f"{done:.1%} loss {np.mean(losses[-200:]):.4f}", flush=True)
    with torch.no_grad():
        for p, e in zip(params, ema):
            p.copy_(e)
    shutil.rmtree(args.out, ignore_errors=True)
    parts = dict(unet=unet, text_encoder=text, tokenizer=tokenizer, scheduler=scheduler, vae=vae)
    for name, part in parts.items():
        part.save_pretrained(os.path.join(args.out, name))


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("stage", choices=["vae", "teacher"])
    parser.add_argument("--shards", nargs="+", required=True)
    parser.add_argument("--seconds", type=float, required=True)
    parser.add_argument("--out", required=True)
    parser.add_argument("--vae")
    parser.add_argument("--tokenizer")
    arguments = parser.parse_args()
    torch.manual_seed(0)
    train_vae(arguments) if arguments.stage == "vae" else train_teacher(arguments)
