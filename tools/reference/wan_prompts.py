"""wan_prompts.json: what `prompt_clean` of diffusers' Wan pipelines makes of prompts before they reach the tokenizer.

ftfy.fix_text, then html.unescape twice, strip, and every run of white space to one space. Broken encodings (`broken`) are
what only ftfy repairs; a port without it must say so rather than pass these cases by chance.
"""

import ftfy
from diffusers.pipelines.wan.pipeline_wan import prompt_clean

import goldens

PROMPTS = [
    "A red ball rolls over grass.",
    "  two   spaces,\ttabs\nand\r\nlines  ",
    "a &amp; b &amp;amp; c &lt;d&gt; &quot;e&quot; &#39;f&#39; &nbsp;g",
    "“curly” ‘quotes’ and an em—dash…",
    "Ｆｕｌｌｗｉｄｔｈ letters and ﬁ ligatures",
    "一只猫在弹钢琴，阳光",
    "色调艳丽，过曝，静态，细节模糊不清",
    "e\u0301 composed, é precomposed",
    "zero\u200bwidth, soft\u00adhyphen, no\u00a0break, \ufeffmark",
    "emoji 🎈 and \U0001f468\u200d\U0001f469\u200d\U0001f467",
    "\x1b[31mcolour codes\x1b[0m and \x07 bells",
    "",
    # The negative prompt that Wan publishes.
    "色调艳丽，过曝，静态，细节模糊不清，字幕，风格，作品，画作，画面，静止，整体发灰，最差质量，低质量，JPEG压缩残留，"
    "丑陋的，残缺的，多余的手指，画得不好的手部，画得不好的脸部，畸形的，毁容的，形态畸形的肢体，手指融合，静止不动的画面，"
    "杂乱的背景，三条腿，背景人很多，倒着走",
    "（全角）！？：；「引号」～ ￠￡￥￦ ､｡ ｶﾞｷﾞｸﾞ ﾊﾟﾋﾟ ﾡﾢ ￫",
    "\u3000ideographic\u3000space\u3000",
    "Ǆ ǅ ǆ Ǉ Ǌ Ǳ Ĳ ĳ ŉ ﬀ ﬂ ﬃ ﬄ ﬅ ﬆ œ æ",
    "„low“ ‚low‘ «guillemets» ‹single› ″primes′ ʼapostrophe ‛reversed‟",
    "AT&T, R&D and fish&chips",
    "legacy &lt without &copy semicolons &notit; &ampamp; &frac12x",
    "&EACUTE; &NTILDE; &SZLIG; &Aacute; &nTILDE; &AMP;",
    "<b>bold &amp; more</b> &eacute; &EACUTE;",
    "first line &EACUTE;\nsecond <i> &EACUTE;\nthird &EACUTE; &eacute;",
    "&#169; &#xA9; &#XA9 &#128; &#150; &#x85; &#0; &#xD800; &#x110000; &#99999999999999999999; &#8; &#xFFFE;|",
    "&#; &#x; &#xZZ; &; && &&amp;; &unknown; &#65",
    "&amp;amp;amp;lt; four times",
    "＆ａｍｐ；ｌｔ；",
    "&CounterClockwiseContourIntegral; &NotEqualTilde; &fjlig; &ThickSpace;|",
    "c1 \x85 \x93quoted\x94 \x80 \x81",
    "breaks\u2028and\u2029more\x0b\x0c\r\n\rend",
    "\ufeffmark first, \ufffcobject, \ufff9inter\ufffblinear, \u206adeprecated\u206f",
    "\x1b[0;1;31mbold\x1b[m \x1b[2Jcleared \x1bnot \x1b[?25l",
    "a\u0301\u0323 q\u0307\u0323 \u1100\u1161\u11a8 \u212b \u2126 \u0958",
    "10³ ½ ™ Ⅳ ① ㎏ ﷺ keep their form",
    "Schrödinger’s “cat”… naïve — señor",
    "zwj \U0001f469\u200d\U0001f680, tags \U0001f3f4\U000e0067\U000e0062\U000e007f, marks \u200e\u202a",
    "\U0001d173 music, \U0001f1eb\U0001f1f7 flag, \U00020000 far",
]
BROKEN = [
    "schÃ¶n cafÃ©",
    "itâ€™s brÃ»lÃ©e",
]


def main():
    for prompt in PROMPTS + BROKEN:
        without = ftfy.fix_text(prompt, fix_encoding=False)
        assert (without != ftfy.fix_text(prompt)) == (prompt in BROKEN), prompt
    cases = [{"prompt": prompt, "clean": prompt_clean(prompt)} for prompt in PROMPTS]
    cases += [{"prompt": prompt, "clean": prompt_clean(prompt), "broken": True} for prompt in BROKEN]
    goldens.write_json("kinora-models", "wan_prompts.json", cases, __file__, 0, ["diffusers", "ftfy"])


if __name__ == "__main__":
    main()
