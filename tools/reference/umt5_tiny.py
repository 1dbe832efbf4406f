"""umt5_tiny: transformers' UMT5EncoderModel, the text encoder of Wan, with small random weights; a padded batch of two.

`hidden.0` is the embedding, `hidden.N` the output of block N-1, before the final norm; `block.N.*` are taps inside a block
(`attn_norm`, `bias` = the relative position bias `[1, N, L, L]`, `attn`, `ffn_norm`, `ffn`: what is added, without the
residual). `buckets` is the bucket of every distance key - query from -300 to 300, with the numbers of the real model
(32 buckets, 128). `output` is what Wan's pipelines use: the final norm, zero where padded (they cut every row to its
length and fill up to 512 with zeros; nothing tells the transformer which tokens are padding).

What differs from T5 (`T5EncoderModel`):
  * every block has a `relative_attention_bias` of its own, in T5 only block 0 has one and all blocks share it;
  * the vocabulary (256384 in umT5-XXL) and its sentencepiece file.
What is the same: scores are not divided by the root of the head width, the norm is RMS with a weight and no bias, there is
no bias vector anywhere, num_heads*d_kv need not be d_model (here 24 and 32), gated GELU of the tanh form (`gelu_new`; the
file says `gated-gelu`), and no scaling of the embedding. `encoder.embed_tokens.weight` is `shared.weight`: files have one
or both, here both are in the model and only `shared` is written.
"""

import json

import torch
from transformers import UMT5Config, UMT5EncoderModel

import goldens

SEED = 19
CONFIG = {
    "model_type": "umt5",
    "vocab_size": 96,
    "d_model": 32,
    "d_kv": 8,
    "d_ff": 48,
    "num_layers": 3,
    "num_heads": 3,
    "relative_attention_num_buckets": 32,
    "relative_attention_max_distance": 128,
    "layer_norm_epsilon": 1e-6,
    "feed_forward_proj": "gated-gelu",
    "pad_token_id": 0,
    "eos_token_id": 1,
}
LENGTHS = [40, 23]


def tapped(model):
    modules = {}
    for i, block in enumerate(model.encoder.block):
        attention, ffn = block.layer
        modules |= {
            f"block.{i}.attn_norm": attention.layer_norm,
            f"block.{i}.attn": attention.SelfAttention,
            f"block.{i}.ffn_norm": ffn.layer_norm,
            f"block.{i}.ffn": ffn.DenseReluDense,
        }
    return modules


def main():
    goldens.seeded(SEED)
    model = UMT5EncoderModel(UMT5Config(**CONFIG, attn_implementation="eager")).eval()
    goldens.randomise(model, SEED)
    # Embeddings of size 1 as in the real model; a bias that a wrong bucket cannot hide behind.
    model.shared.weight.copy_(torch.randn(model.shared.weight.shape))
    for block in model.encoder.block:
        bias = block.layer[0].SelfAttention.relative_attention_bias.weight
        bias.copy_(torch.randn(bias.shape) * 1.5)
    assert model.encoder.embed_tokens.weight is model.shared.weight

    mask = (torch.arange(max(LENGTHS)) < torch.tensor(LENGTHS)[:, None]).long()
    ids = torch.randint(2, CONFIG["vocab_size"], mask.shape) * mask
    for row, length in enumerate(LENGTHS):
        ids[row, length - 1] = CONFIG["eos_token_id"]
    with goldens.Taps(tapped(model) | {f"hidden.{i + 1}": b for i, b in enumerate(model.encoder.block)}) as taps:
        result = model(input_ids=ids, attention_mask=mask)
    taps["hidden.0"] = model.shared(ids)

    # The same with the other attention, and the short row alone: padding must not reach real tokens.
    model.set_attn_implementation("sdpa")
    real = mask[..., None].float()
    other = model(input_ids=ids, attention_mask=mask).last_hidden_state
    alone = model(input_ids=ids[1:, : LENGTHS[1]]).last_hidden_state
    output = result.last_hidden_state * real
    assert (other * real - output).abs().max() < 1e-4
    assert (alone - output[1:, : LENGTHS[1]]).abs().max() < 1e-4

    first = model.encoder.block[0].layer[0].SelfAttention
    for i, block in enumerate(model.encoder.block):
        taps[f"block.{i}.bias"] = block.layer[0].SelfAttention.compute_bias(max(LENGTHS), max(LENGTHS))
    buckets = first._relative_position_bucket(torch.arange(-300, 301))
    assert buckets.max() == 31 and buckets.min() == 0

    weights = {k: v for k, v in model.state_dict().items() if k != "encoder.embed_tokens.weight"}
    out = goldens.with_prefix("weights.", weights) | taps
    out |= {"ids": ids.int(), "mask": mask.int(), "buckets": buckets.int(), "output": output}
    meta = {"config": json.dumps(CONFIG)}
    goldens.write("kinora-models", "umt5_tiny", out, __file__, SEED, ["transformers"], 3e-5, meta)
    print({k: round(float(v.std()), 2) for k, v in taps.items()})


if __name__ == "__main__":
    main()
