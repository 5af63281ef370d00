"""Makes normal_forms.json: the four Unicode normal forms of awkward texts, by Python's unicodedata.

usage: make_normal_forms.py > normal_forms.json
"""
import json
import random
import unicodedata

TEXTS = ["", "plain", "e\u0301", "\u00e9", "\u212b\u2126\u212a", "\ufb01 \u2460 \u00bd \uff21", "\uac00\uac01\u1100\u1161\u11a8\u1112\u1175", "a\u0327\u0301\u0323",
         "\u0915\u093c \u0958", "\u1e9b\u0323", "\U0001d15e \U0001d400 \U0002f800", "q\u0307\u0323 d\u0307\u0323", "\u0344 \u0f43", "\u30ab\u3099\uff76\uff9e"]
r = random.Random(7)
pool = [*range(0xA0, 0x180), *range(0x300, 0x340), *range(0x1E00, 0x1F00), *range(0xAC00, 0xAC40), *range(0x1100, 0x1113), *range(0x1161, 0x1176), *range(0x11A8, 0x11C3),
        *range(0x0930, 0x0960), *range(0xFB00, 0xFB07), *range(0x3300, 0x3358), 0x61, 0x65, 0x6F]
TEXTS += ["".join(chr(r.choice(pool)) for _ in range(24)) for _ in range(20)]
json.dump([{"text": t, **{f.lower(): unicodedata.normalize(f, t) for f in ("NFC", "NFD", "NFKC", "NFKD")}} for t in TEXTS], __import__("sys").stdout, separators=(",", ":"))
print()
