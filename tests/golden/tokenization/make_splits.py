"""Makes splits.json: how published pre-tokenizer expressions cut awkward texts, by Python's `regex` module (pip install regex).

usage: make_splits.py > splits.json
Each case lists the lengths of the pieces in UTF-16 units; pieces are the matches and whatever lies between them.
"""
import json
import regex

PATTERNS = {
    "gpt2": r"'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+",
    "llama3": r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+",
    "qwen2": r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+",
    "cl100k possessive": r"'(?i:[sdmt]|ll|ve|re)|[^\r\n\p{L}\p{N}]?+\p{L}++|\p{N}{1,3}| ?[^\s\p{L}\p{N}]++[\r\n]*+|\s++$|\s*[\r\n]|\s+(?!\S)|\s",
    "o200k": r"[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]*[\p{Ll}\p{Lm}\p{Lo}\p{M}]+(?i:'s|'t|'re|'ve|'m|'ll|'d)?"
             r"|[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]+[\p{Ll}\p{Lm}\p{Lo}\p{M}]*(?i:'s|'t|'re|'ve|'m|'ll|'d)?"
             r"|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+",
    "deepseek llm cjk": r"[一-龥ࠀ-一가-퟿]+",
    "starcoder digits": r"\p{N}",
    "whitespace type": r"[\w\u200C\u200D]+|[^\w\u200C\u200D\s]+",
}
TEXTS = [
    "", " ", "\n", "Hello world", " Hello  World!\n\n", "I've been 'told he's there, 'RE you SURE? we'Ve a'lL",
    "3 33 333 3333 33333333 3.3 3..3", "\n \n\n \n\n\n \t \t\t x", "x   \n", "tab\tand\r\nCRLF\r\n\r\n  end  ",
    "🚀 (normal) 😶\u200d🌫️ (joined) ✅🦙🦙!", "我想在apple工作1314151天～", "𠀀𠀁 rare han 𝐀𝐁c 𝟙𝟚3 𐐀𐐨", "Cửa Việt e\u0301 नमस्ते ภาษาไทย",
    "нещо на Български", "ΑΒΓαβγ ǅ ʰ ª", "CamelCaseText HTTPServer iPhone15Pro", "a_b-c/d\\e [x]{y} <|im_start|> ______", "\u00a0nbsp\u2003em\u3000wide",
    "½ ² Ⅷ ٣٤٥", "한국어 텍스트 가나다", "日本語テキストひらがな", "'''''' ```py\nprint(1)\n``` \"\"\"", "end with spaces   ",
]


def utf16(text):
    return len(text.encode("utf-16-le")) // 2


def cut(pattern, text):
    pieces, done = [], 0
    for m in pattern.finditer(text):
        if m.end() == m.start():
            continue
        if m.start() > done:
            pieces.append(text[done:m.start()])
        pieces.append(m.group())
        done = m.end()
    if done < len(text):
        pieces.append(text[done:])
    return [utf16(p) for p in pieces]


json.dump({
    "texts": TEXTS,
    "patterns": [{"name": n, "pattern": p, "lengths": [cut(regex.compile(p, regex.V0 | regex.MULTILINE), t) for t in TEXTS]} for n, p in PATTERNS.items()],
}, __import__("sys").stdout, ensure_ascii=False, separators=(",", ":"))
print()
