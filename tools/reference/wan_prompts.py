"""wan_prompts.json: what `prompt_clean` of diffusers' Wan pipelines makes of prompts before they reach the tokenizer.

ftfy.fix_text, then html.unescape twice, strip, and every run of white space to one space. Broken encodings (the last
case) are what only ftfy repairs; a port without it must say so rather than pass that case by chance.
"""

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
    "schÃ¶n cafÃ©",
]


def main():
    cases = [{"prompt": prompt, "clean": prompt_clean(prompt)} for prompt in PROMPTS]
    goldens.write_json("kinora-models", "wan_prompts.json", cases, __file__, 0, ["diffusers", "ftfy"])


if __name__ == "__main__":
    main()
