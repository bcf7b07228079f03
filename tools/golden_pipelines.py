"""Reference latents of whole pipelines that diffusers draws from the tiny models of the tests.

    python tools/golden_pipelines.py GOLDEN_FOLDER OUT_FOLDER

GOLDEN_FOLDER holds models/ and pipelines/init.png. Every case runs on the CPU in float32; the
settings stand in the metadata of its file. Needs torch, transformers and diffusers.
"""
import sys
from pathlib import Path
from types import SimpleNamespace

import torch
from diffusers import (AutoencoderKL, ControlNetModel, DDIMScheduler, EulerAncestralDiscreteScheduler,
                       EulerDiscreteScheduler, HeunDiscreteScheduler, LatentConsistencyModelPipeline, LCMScheduler,
                       StableDiffusionControlNetPipeline, StableDiffusionImg2ImgPipeline,
                       StableDiffusionInpaintPipeline, StableDiffusionPipeline, StableDiffusionXLImg2ImgPipeline,
                       StableDiffusionXLPipeline, UNet2DConditionModel)
from PIL import Image
from safetensors.torch import save_file
from transformers import CLIPTextModel, CLIPTokenizer

golden, out = Path(sys.argv[1]), Path(sys.argv[2])
sd15, sdxl = golden / "models/sd15", golden / "models/sdxl"
init = Image.open(golden / "pipelines/init.png").convert("RGB")
mask = Image.new("L", (64, 64), 0)
mask.paste(255, (16, 8, 48, 40))  # left, top, right, bottom: white is drawn anew
PROMPT = "a red apple on a table"


def nine_channels(unet):
    """An inpainting U-Net: noisy latents, mask and masked picture, read by scaled copies of the same kernels."""
    wide = UNet2DConditionModel.from_config({**unet.config, "in_channels": 9})
    state = unet.state_dict()
    w = state["conv_in.weight"]
    state["conv_in.weight"] = torch.cat([w, 0.3 * w[:, :1], 0.5 * w], dim=1)
    wide.load_state_dict(state)
    return wide


def told_guidance(unet):
    """A U-Net that embeds its guidance, as LCM's do; the extra layer is made of the time embedding's first."""
    told = UNet2DConditionModel.from_config({**unet.config, "time_cond_proj_dim": 256})
    state = unet.state_dict()
    w = state["time_embedding.linear_1.weight"].T
    state["time_embedding.cond_proj.weight"] = torch.cat([w, -0.5 * w], dim=1)
    told.load_state_dict(state)
    return told


def sd21():
    """Parts of Stable Diffusion 2.1 from what there is: the U-Net reads the first 32 features of its 40, as many as
    XL's second text encoder makes (which is OpenCLIP's, as 2.1's is, and pads with "!")."""
    whole = UNet2DConditionModel.from_pretrained(golden / "models/sd21-unet")
    unet = UNet2DConditionModel.from_config({**whole.config, "cross_attention_dim": 32})
    unet.load_state_dict({k: w[:, :32] if "attn2.to_k" in k or "attn2.to_v" in k else w
                          for k, w in whole.state_dict().items()})
    scheduler = DDIMScheduler(beta_start=0.00085, beta_end=0.012, beta_schedule="scaled_linear", clip_sample=False,
                              set_alpha_to_one=False, steps_offset=1, prediction_type="v_prediction",
                              rescale_betas_zero_snr=True, timestep_spacing="trailing")
    return dict(unet=unet, scheduler=scheduler, vae=AutoencoderKL.from_pretrained(sdxl / "vae"),
                text_encoder=CLIPTextModel.from_pretrained(sdxl / "text_encoder_2"),
                tokenizer=CLIPTokenizer.from_pretrained(sdxl / "tokenizer_2"),
                safety_checker=None, feature_extractor=None, requires_safety_checker=False)


def case(name, pipe, scheduler=None, seed=5, **settings):
    if scheduler is not None:
        pipe.scheduler = scheduler.from_config(pipe.scheduler.config)
    pipe.set_progress_bar_config(disable=True)
    latents = pipe(PROMPT, generator=torch.Generator().manual_seed(seed), output_type="latent", **settings).images
    shown = {k: str(v) for k, v in settings.items() if isinstance(v, (int, float, str, list)) and "image" not in k}
    metadata = {"prompt": PROMPT, "seed": str(seed), "scheduler": type(pipe.scheduler).__name__, **shown}
    save_file({"latents": latents.contiguous()}, out / f"{name}.safetensors", metadata)
    print(name, tuple(latents.shape), latents.abs().max().item())


with torch.no_grad():
    out.mkdir(parents=True, exist_ok=True)
    inpaint = dict(image=init, mask_image=mask, height=64, width=64, guidance_scale=5.0)
    load = StableDiffusionInpaintPipeline.from_pretrained
    case("inpaint", load(sd15), num_inference_steps=10, strength=0.7, **inpaint)
    case("inpaint_euler_ancestral", load(sd15), EulerAncestralDiscreteScheduler, num_inference_steps=8, strength=1.0,
         **inpaint)
    case("inpaint_resized", load(sd15), num_inference_steps=4, strength=0.5, **{**inpaint, "height": 48, "width": 40})
    wide = nine_channels(UNet2DConditionModel.from_pretrained(sd15 / "unet"))
    case("inpaint_9_channels", load(sd15, unet=wide), EulerAncestralDiscreteScheduler, num_inference_steps=6,
         strength=0.8, **inpaint)
    control = ControlNetModel.from_pretrained(golden / "models/controlnet-sd15")
    pipe = StableDiffusionControlNetPipeline.from_pretrained(sd15, controlnet=[control, control])
    case("controlnet_twice", pipe, image=[init, init.transpose(Image.FLIP_LEFT_RIGHT)], num_inference_steps=8,
         guidance_scale=4.0, controlnet_conditioning_scale=[0.7, 0.4], control_guidance_start=[0.0, 0.3],
         control_guidance_end=[0.6, 1.0], height=64, width=64)
    pipe = StableDiffusionPipeline.from_pretrained(sd15)
    if not hasattr(pipe.text_encoder, "text_model"):  # where transformers 5 has it
        object.__setattr__(pipe.text_encoder, "text_model", SimpleNamespace(
            final_layer_norm=pipe.text_encoder.final_layer_norm))
    case("clip_skip", pipe, num_inference_steps=5, guidance_scale=5.0,
         clip_skip=1, height=64, width=64)
    case("img2img_heun", StableDiffusionImg2ImgPipeline.from_pretrained(sd15), HeunDiscreteScheduler, image=init,
         num_inference_steps=10, strength=0.5, guidance_scale=5.0)
    told = told_guidance(UNet2DConditionModel.from_pretrained(sd15 / "unet"))
    case("lcm", LatentConsistencyModelPipeline.from_pretrained(sd15, unet=told), LCMScheduler, num_inference_steps=4,
         guidance_scale=4.0, height=64, width=64)
    pipe = StableDiffusionXLPipeline.from_pretrained(sdxl)
    case("sdxl_no_negative_prompt", pipe, num_inference_steps=5, guidance_scale=5.0, clip_skip=1, height=32, width=24)
    pipe = StableDiffusionXLImg2ImgPipeline.from_pretrained(sdxl)
    case("sdxl_img2img", pipe, image=init, num_inference_steps=8, strength=0.6, guidance_scale=5.0,
         negative_prompt="blurry")
    pipe = StableDiffusionPipeline(**sd21())
    guided = dict(guidance_scale=5.0, negative_prompt="blurry")
    case("sd21", pipe, num_inference_steps=6, height=32, width=24, **guided)
    case("sd21_euler", pipe, EulerDiscreteScheduler, num_inference_steps=6, height=32, width=24, **guided)
    pipe = StableDiffusionImg2ImgPipeline(**sd21())
    case("sd21_img2img", pipe, image=init, num_inference_steps=6, strength=0.5, **guided)
    vae = AutoencoderKL.from_pretrained(sd15 / "vae")
    vae.enable_tiling()
    z = torch.randn(1, 4, 24, 21, generator=torch.Generator().manual_seed(1))
    picture = vae.decode(z).sample
    moments = torch.cat([vae.encode(picture).latent_dist.mean, vae.encode(picture).latent_dist.logvar], dim=1)
    save_file({"latent": z, "decoded": picture.contiguous(), "moments": moments.contiguous()},
              out / "vae_tiled.safetensors")
