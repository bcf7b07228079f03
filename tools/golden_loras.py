"""LoRAs whose strength stands outside their tensors, and what diffusers and peft make of them.

    python tools/golden_loras.py GOLDEN_FOLDER

Writes GOLDEN_FOLDER/lora/strength/: NAME.safetensors, as diffusers saves it with its metadata, or NAME/ with
adapter_config.json, as peft does; and NAME.expected.safetensors with the change of every weight, read back by the same
library. Needs torch, transformers, diffusers and peft.
"""
import sys
from pathlib import Path

import torch
from diffusers import StableDiffusionPipeline, UNet2DConditionModel
from diffusers.utils import convert_state_dict_to_diffusers
from peft import LoraConfig, PeftModel, get_peft_model
from peft.tuners.lora import LoraLayer
from peft.utils import get_peft_model_state_dict
from safetensors.torch import save_file

golden = Path(sys.argv[1])
sd15 = golden / "models/sd15"
out = golden / "lora/strength"
out.mkdir(parents=True, exist_ok=True)
MID = "mid_block.attentions.0.transformer_blocks.0."
UNET = [MID + "attn1.to_q", MID + "attn2.to_k", MID + "attn1.to_out.0", "mid_block.resnets.0.conv2"]
TEXT = ["encoder.layers.0.self_attn.q_proj", "encoder.layers.1.mlp.fc1"]


def config(targets, **settings):
    return LoraConfig(init_lora_weights=False, target_modules=targets, **settings)


def changes(model, prefix):
    return {prefix + name.replace("base_model.model.", "") + ".weight": layer.get_delta_weight(adapter).contiguous()
            for name, layer in model.named_modules() if isinstance(layer, LoraLayer) for adapter in layer.lora_A}


def by_diffusers(name, unet, text=None):
    torch.manual_seed(0)
    pipe = StableDiffusionPipeline.from_pretrained(sd15)
    layers = {}
    for part, settings in (("unet", unet), ("text_encoder", text)):
        if settings is not None:
            model = getattr(pipe, part)
            model.add_adapter(settings)
            state = get_peft_model_state_dict(model, adapter_name="default")
            layers[part + "_lora_layers"] = convert_state_dict_to_diffusers(state)
            metadata = model.peft_config["default"].to_dict() | {"base_model_name_or_path": None}
            layers[part + "_lora_adapter_metadata"] = metadata
    StableDiffusionPipeline.save_lora_weights(out, weight_name=name + ".safetensors", **layers)
    again = StableDiffusionPipeline.from_pretrained(sd15)
    again.load_lora_weights(out, weight_name=name + ".safetensors")
    expected = changes(again.unet, "unet.") | changes(again.text_encoder, "text_encoder.")
    save_file(expected, out / f"{name}.expected.safetensors")
    print(name, len(expected), {k: round(v.abs().max().item(), 3) for k, v in expected.items()})


def by_peft(name, settings):
    torch.manual_seed(1)
    model = get_peft_model(UNet2DConditionModel.from_pretrained(sd15 / "unet"), settings)
    model.save_pretrained(out / name)
    (out / name / "README.md").unlink()  # a template
    again = PeftModel.from_pretrained(UNet2DConditionModel.from_pretrained(sd15 / "unet"), out / name)
    save_file(changes(again, "unet."), out / f"{name}.expected.safetensors")
    print(name)


by_diffusers("alpha", config(UNET[:3], r=2, lora_alpha=8))
by_diffusers("text", config(UNET[:1], r=2, lora_alpha=1),
             config(TEXT, r=3, lora_alpha=6, alpha_pattern={"encoder.layers.1.mlp.fc1": 12}))
by_diffusers("patterns", config(
    UNET, r=2, lora_alpha=4, rank_pattern={"attn2.to_k": 4, r"mid_block\.resnets\.\d+\.conv2": 3},
    alpha_pattern={"to_k": 16, "^" + UNET[0]: 1, r"resnets.*": 9, "o_out.0": 100}))
by_diffusers("rslora", config(UNET[:3], r=4, lora_alpha=8, use_rslora=True, rank_pattern={"to_k": 9}))
by_peft("peft", config(UNET[:3], r=2, lora_alpha=8, rank_pattern={"to_q": 4}))
by_peft("peft-rslora", config(UNET[:2], r=4, lora_alpha=6, use_rslora=True, alpha_pattern={"attn2.to_k": 3}))
