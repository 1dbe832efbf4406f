"""Writes every fixture anew: `python tools/reference/make_all.py [--root REPO]`. The same versions, the same bytes."""

import goldens
import judge_tiny
import minilm_tiny
import parse_words
import sampling
import taehv_tiny
import tokenizer_cases
import toybox_small
import wan_tiny

if __name__ == "__main__":
    sampling.main(goldens.root() / "crates/kinora-sampling/tests/fixtures")
    for script in (wan_tiny, taehv_tiny, minilm_tiny, judge_tiny, tokenizer_cases, toybox_small, parse_words):
        script.main()
