"""Writes every fixture anew: `python tools/reference/make_all.py [--root REPO]`. The same versions, the same bytes."""

import clip_vision_tiny
import goldens
import judge_tiny
import minilm_tiny
import parse_words
import pickles
import sampling
import step_caches
import taehv_tiny
import tokenizer_cases
import toybox_small
import umt5_tiny
import umt5_tokenizer
import wan_causal_tiny
import wan_dialects
import wan_i2v_tiny
import wan_names
import wan_pipeline_tiny
import wan_prompts
import wan_schedules
import wan_tiny
import wan_vace_tiny
import wan_vae_tiny

SCRIPTS = (
    wan_schedules,
    step_caches,
    wan_i2v_tiny,
    wan_vace_tiny,
    wan_causal_tiny,
    wan_vae_tiny,
    clip_vision_tiny,
    umt5_tiny,
    umt5_tokenizer,
    wan_pipeline_tiny,
    wan_prompts,
    wan_names,
    wan_dialects,
    pickles,
    wan_tiny,
    taehv_tiny,
    minilm_tiny,
    judge_tiny,
    tokenizer_cases,
    toybox_small,
    parse_words,
)

if __name__ == "__main__":
    sampling.main(goldens.root() / "crates/kinora-sampling/tests/fixtures")
    for script in SCRIPTS:
        script.main()
