"""Textual inversions in every form in which they are published, and how diffusers reads prompts with them.

    python tools/golden_embeddings.py GOLDEN_FOLDER

Writes GOLDEN_FOLDER/embeddings/: the files, and expected.safetensors with ids and prompt embeddings of the tiny models.
Needs torch, transformers and diffusers.
"""
import sys
from pathlib import Path

import torch
from diffusers import StableDiffusionPipeline, StableDiffusionXLPipeline
from safetensors.torch import load_file, save_file

golden = Path(sys.argv[1])
out = golden / "embeddings"
out.mkdir(exist_ok=True)
torch.manual_seed(0)
width = 32
one, three, four = torch.randn(width), torch.randn(3, width), torch.randn(2, width)
save_file({"<cat-toy>": one}, out / "learned_embeds.safetensors")
torch.save({"<dog-toy>": three}, out / "several.bin")
torch.save({"string_to_token": {"*": 265}, "string_to_param": {"*": torch.nn.Parameter(four)}, "name": "bad-hands",
            "step": 2000, "sd_checkpoint": None, "sd_checkpoint_name": "tiny"}, out / "a1111.pt")
holder = torch.nn.ParameterDict({"*": four + 1})
torch.save({"string_to_token": {"*": 265}, "string_to_param": holder, "name": "older", "step": 1}, out / "parameterdict.pt")
save_file({"emb_params": three + 1}, out / "easynegative.safetensors")
save_file({"clip_l": torch.randn(2, width), "clip_g": torch.randn(2, width)}, out / "xl-style.safetensors")

PROMPT = "a <cat-toy> beside a <dog-toy>, bad-hands EASYNEGATIVE older"
pipe = StableDiffusionPipeline.from_pretrained(golden / "models/sd15")
pipe.load_textual_inversion(out / "learned_embeds.safetensors")
pipe.load_textual_inversion(out / "several.bin")
pipe.load_textual_inversion(out / "a1111.pt")
pipe.load_textual_inversion({"string_to_param": {"*": four + 1}, "name": "older"})  # refuses the class, reads the rest
pipe.load_textual_inversion(load_file(out / "easynegative.safetensors")["emb_params"], token="easynegative")
expected = {}
with torch.no_grad():
    text = pipe.maybe_convert_prompt(PROMPT, pipe.tokenizer)
    expected["ids"] = pipe.tokenizer(text, padding="max_length", max_length=77, return_tensors="pt").input_ids
    expected["embeds"] = pipe.encode_prompt(PROMPT, "cpu", 1, False)[0]
    pipe = StableDiffusionXLPipeline.from_pretrained(golden / "models/sdxl")
    both = load_file(out / "xl-style.safetensors")
    for key, number in (("clip_l", ""), ("clip_g", "_2")):
        pipe.load_textual_inversion(both[key], token="xl-style", tokenizer=getattr(pipe, "tokenizer" + number),
                                    text_encoder=getattr(pipe, "text_encoder" + number))
    embeds, _, pooled, _ = pipe.encode_prompt("a castle, xl-style", device="cpu", do_classifier_free_guidance=False)
    expected["xl_embeds"], expected["xl_pooled"] = embeds, pooled
save_file({k: v.contiguous() for k, v in expected.items()}, out / "expected.safetensors",
          {"prompt": PROMPT, "xl_prompt": "a castle, xl-style"})
print({k: tuple(v.shape) for k, v in expected.items()}, expected["ids"][0, :20], text)
