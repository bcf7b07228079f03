"""Cuts CLIP's tokenizer down to the words of a few captions: of its 48,894 merges those that spell them, in CLIP's order,
so that these words become the tokens that CLIP makes of them. What other words lose is only whole-word tokens: every byte
is still in the vocabulary.

    python tools/cut_tokenizer.py docs/compare/fashion-mnist-32/tokenizer 16 "picture of an ankle boot, shoe" ...
"""

import gzip
import json
import pathlib
import re
import sys

MERGES = "models/src/main/resources/org/perflow/models/merges.txt.gz"


def byte_symbols():
    """GPT-2's printable stand-in for each byte."""
    visible = [*range(33, 127), *range(161, 173), *range(174, 256)]
    hidden = [b for b in range(256) if b not in visible]
    return [chr(b) for b in visible] + [chr(256 + i) for i in range(len(hidden))]


def merges_of(word, ranks):
    symbols, used = [*word[:-1], word[-1] + "</w>"], set()
    while pairs := [p for p in zip(symbols, symbols[1:]) if p in ranks]:
        best = min(pairs, key=ranks.get)
        used.add(best)
        at = list(zip(symbols, symbols[1:])).index(best)
        symbols[at : at + 2] = ["".join(best)]
    return used


def main(folder, length, *captions):
    lines = gzip.open(MERGES, "rt", encoding="utf-8").read().split("\n")[1:]
    ranks = {tuple(line.split()): i for i, line in enumerate(lines) if line}
    words = {word for caption in captions for word in re.findall(r"[a-z]+|[^\sa-z]+", caption)}
    merges = sorted(set().union(*(merges_of(word, ranks) for word in words)), key=ranks.get)
    symbols = sorted(byte_symbols())
    tokens = symbols + [s + "</w>" for s in symbols] + ["".join(m) for m in merges] + ["<|startoftext|>", "<|endoftext|>"]
    special = dict(bos_token="<|startoftext|>", eos_token="<|endoftext|>", pad_token="<|endoftext|>", unk_token="<|endoftext|>")
    config = dict(special, do_lower_case=True, errors="replace", model_max_length=int(length), tokenizer_class="CLIPTokenizer")
    out = pathlib.Path(folder)
    out.mkdir(parents=True, exist_ok=True)
    (out / "merges.txt").write_text("#version: 0.2\n" + "".join(" ".join(m) + "\n" for m in merges))
    (out / "vocab.json").write_text(json.dumps({t: i for i, t in enumerate(tokens)}, ensure_ascii=False) + "\n")
    (out / "special_tokens_map.json").write_text(json.dumps(special, indent=2) + "\n")
    (out / "tokenizer_config.json").write_text(json.dumps(config, indent=2) + "\n")
    print(f"{len(merges)} merges, {len(tokens)} tokens")


main(*sys.argv[1:])
