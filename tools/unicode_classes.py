"""Which characters CLIP's tokenizer takes for letters, for numbers and for capitals, as the reference's own libraries do
(Oniguruma and Rust, each with the Unicode of its day), so that it does not depend on the JDK.

    python tools/unicode_classes.py > models/src/main/resources/org/perflow/models/text/unicode.txt

Ranges in hexadecimal, both ends included; a capital's range has the distance to its small letter and, where only every
second one is a capital, "/2". Needs tokenizers.
"""
from tokenizers import Regex, normalizers, pre_tokenizers

split = pre_tokenizers.Split(Regex(r"[\p{L}]+|[\p{N}]|[^\s\p{L}\p{N}]+"), behavior="removed", invert=True)
lowercase = normalizers.Lowercase()


def kind(c):
    pieces = [text for text, _ in split.pre_tokenize_str("a" + c + "!")]
    return {2: "letters" if pieces[0] == "a" + c else "", 3: "numbers"}[len(pieces)]


def ranges(points):
    start = previous = None
    for point in [*points, None]:
        if start is not None and point != previous + 1:
            yield f"{start:x}" if start == previous else f"{start:x}-{previous:x}"
            start = None
        start = point if start is None else start
        previous = point


def capitals():
    """Runs of capitals at one distance, one or two apart."""
    distance = {c: ord(lowercase.normalize_str(chr(c))) - c for c in characters
                if len(lowercase.normalize_str(chr(c))) == 1 and lowercase.normalize_str(chr(c)) != chr(c)}
    while distance:
        start = min(distance)
        runs = []
        for step in (1, 2):
            run = [start]
            while distance.get(run[-1] + step) == distance[start]:
                run.append(run[-1] + step)
            runs.append(run)
        run = max(runs, key=len)
        step = "/2" if run is runs[1] and len(run) > 1 else ""
        yield f"{start:x}-{run[-1]:x}{distance[start]:+x}{step}"
        for c in run:
            del distance[c]


characters = [c for c in range(0x110000) if not 0xD800 <= c < 0xE000]
kinds = {c: kind(chr(c)) for c in characters}
for name in ("letters", "numbers"):
    print(name, *ranges([c for c in characters if kinds[c] == name]))
print("capitals", *capitals())
