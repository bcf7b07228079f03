"""What transformers' CLIPTokenizer makes of texts that are hard to cut, with tokens added in every place where they are
written: one JSON file of cases, each with the files beside the vocabulary, texts and their ids.

    python tools/golden_tokenizers.py GOLDEN_FOLDER

Reads GOLDEN_FOLDER/models/sd15/tokenizer and writes GOLDEN_FOLDER/tokenizers.json. Needs transformers.
"""
import json
import random
import shutil
import sys
import tempfile
from pathlib import Path

from transformers import CLIPTokenizer

golden = Path(sys.argv[1])
source = golden / "models/sd15/tokenizer"
config = json.loads((source / "tokenizer_config.json").read_text())
whole = json.loads((source / "tokenizer.json").read_text())
rng = random.Random(0)


def token(content, **flags):
    return {"content": content, **flags}


def decoder(*tokens):
    plain = dict(lstrip=False, rstrip=False, single_word=False, normalized=True, special=False)
    return {"added_tokens_decoder": {str(3514 + i): plain | t for i, t in enumerate(tokens)}}


def listed(*tokens):
    """The added_tokens of a tokenizer.json; the test puts them into the one of the model."""
    plain = dict(single_word=False, lstrip=False, rstrip=False, normalized=True, special=False)
    return whole["added_tokens"] + [plain | t | {"id": 3514 + i} for i, t in enumerate(tokens)]


cases = {  # files of the tokenizer's folder; "tokenizer.json" stands for its added tokens
    "plain": {},
    "added_tokens.json": {"added_tokens.json": {"<cat-toy>": 3514, "Dog Toy": 3515, "<s2>": 3516}},
    "added tokens of the vocabulary": {"added_tokens.json": {"cat": 1481, "cat toy": 3514, "toys": 3515}},
    "decoder": {"tokenizer_config.json": config | decoder(
        token("<cat-toy>", lstrip=True), token("<Cat-Toy2>", single_word=True), token("dog toy", rstrip=True),
        token("ÄÖ", lstrip=True, rstrip=True))},
    "decoder, as spelt": {"tokenizer_config.json": config | decoder(
        token("<cat-toy>", normalized=False), token("Dog Toy", normalized=False, lstrip=True, rstrip=True),
        token("CAT", normalized=False, single_word=True), token("<s2>", special=True, normalized=False))},
    "decoder before the map": {"tokenizer_config.json": config | decoder(token("<cat-toy>")),
                               "special_tokens_map.json": {"pad_token": "!", "additional_special_tokens": ["dog"]},
                               "added_tokens.json": {"toy": 3514}},
    "special map": {"special_tokens_map.json": {
        "bos_token": token("<|startoftext|>", lstrip=False, normalized=True), "pad_token": "!",
        "additional_special_tokens": ["<cat-toy>", "<s2>"]}},
    "special map and added": {"special_tokens_map.json": {"additional_special_tokens": ["<cat-toy>"]},
                              "added_tokens.json": {"<cat-toy>": 3514, "dog": 3515}},
    "config": {"tokenizer_config.json": config | {
        "bos_token": token("<|startoftext|>", __type="AddedToken", lstrip=False, normalized=True, rstrip=False,
                           single_word=False),
        "additional_special_tokens": ["<cat-toy>", "dog toy"]}},
    "config by name": {"tokenizer_config.json": config | {"toy_token": "<cat-toy>",
                                                          "extra_special_tokens": {"s_token": "<s2>"}}},
    "tokenizer.json": {"tokenizer.json": listed(token("<cat-toy>"), token("Dog Toy", special=True, normalized=False))},
    "tokenizer.json and decoder": {"tokenizer.json": listed(token("<dog>")),
                                   "tokenizer_config.json": config | decoder(token("<cat-toy>"))},
    "tokenizer.json and added": {"tokenizer.json": listed(), "added_tokens.json": {"<cat-toy>": 3514}},
}

WORDS = ["a", "cat", "CAT", "<cat-toy>", "<CAT-TOY>", "<cat-toy>_1", "dog toy", "Dog Toy", "DOG  TOY", "<Cat-Toy2>", "<s2>",
         "äö", "ÄÖ", "cat toy", "toys", "dog", "<dog>", "!", "!!!", "it's", "I'LL", "''s", "<|endoftext|>", "<|ENDOFTEXT|>",
         "<|startoftext|>", "<|", "x_", "2024", "½", "Ⅷ", "e\u0301", "\ufb01", "İ", "ΟΔΟΣ", "ẞ", "\u212b", "☂", "👩‍🚀", "中文",
         "\u3042\u3099", "\u1100\u1161", "\u00ad", "\u200b", "\x00", "\ufffd"]
BLANKS = ["", " ", "  ", "\t", "\n", "\u00a0", "\u2028", "\u3000", "\x85", "_", "."]
# letters, numbers and capitals of Unicode 14 to 16, which older tables do not know, between those that all know
NEW = [0x1C89, 0x1C8A, 0xA7C0, 0xA7C1, 0xA7CB, 0xA7CC, 0xA7DA, 0xA7DC, 0xA7F2, 0x10570, 0x10597, 0x105C0, 0x10780, 0x10D40,
       0x10D49, 0x10D4A, 0x10D50, 0x10D65, 0x10D70, 0x10EC2, 0x11240, 0x11380, 0x11BC0, 0x11BF0, 0x11F04, 0x11F50, 0x12F90,
       0x13460, 0x16100, 0x16130, 0x16A70, 0x16AC0, 0x16D40, 0x16D70, 0x18CFF, 0x1AFF0, 0x1CCF0, 0x1D2C0, 0x1DF00, 0x1E290,
       0x1E4D0, 0x1E4F0, 0x1E5D0, 0x1E5F1, 0x2A6DE, 0x2B739, 0x2EBF0, 0x31350, 0x323AF, 0xC5D, 0xCDD, 0x0870, 0x8D9, 0x1715]


def texts(count):
    for _ in range(count):
        yield "".join(rng.choice(WORDS) + rng.choice(BLANKS) for _ in range(rng.randint(1, 6)))


def characters():
    for c in NEW:
        yield f"a{chr(c)}b {chr(c)}{chr(c)}1{chr(c)}."
    for _ in range(300):
        yield "".join(chr(rng.choice([rng.randrange(0x20, 0x3000), rng.randrange(0x20, 0xD800), rng.randrange(0xE000, 0x20000)]))
                      for _ in range(rng.randint(1, 8)))


out = []
for name, files in cases.items():
    with tempfile.TemporaryDirectory() as folder:
        for file in ("vocab.json", "merges.txt", "tokenizer_config.json"):
            shutil.copy(source / file, folder)
        for file, content in files.items():
            content = whole | {"added_tokens": content} if file == "tokenizer.json" else content
            Path(folder, file).write_text(json.dumps(content))
        tokenizer = CLIPTokenizer.from_pretrained(folder)
    lines = list(texts(60)) + (list(characters()) + ["ab" * 3000, "ß" * 1000 + "x"] if name == "plain" else [])
    out.append({"name": name, "files": files, "size": len(tokenizer),
                "texts": [{"text": t, "ids": tokenizer(t, add_special_tokens=False).input_ids} for t in lines]})
    print(name, len(tokenizer), len(lines))
(golden / "tokenizers.json").write_text(json.dumps(out, separators=(",", ":")) + "\n")
