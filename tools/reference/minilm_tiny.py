"""minilm_tiny: transformers' BertModel with small random weights; a batch of two of which one is padded.

`hidden.0` is the output of the embeddings, `hidden.N` of layer N; `sentence` the mean over the real tokens, normalised.
"""

import json

import torch
from transformers import BertConfig, BertModel

import goldens

SEED = 13
CONFIG = {
    "model_type": "bert",
    "hidden_size": 32,
    "num_attention_heads": 4,
    "num_hidden_layers": 2,
    "intermediate_size": 64,
    "vocab_size": 100,
    "max_position_embeddings": 64,
    "type_vocab_size": 2,
    "layer_norm_eps": 1e-12,
    "hidden_act": "gelu",
    "pad_token_id": 0,
}


def main():
    goldens.seeded(SEED)
    model = BertModel(BertConfig(**CONFIG), add_pooling_layer=False).eval()
    goldens.randomise(model, SEED)
    lengths = [11, 7]
    mask = (torch.arange(max(lengths)) < torch.tensor(lengths)[:, None]).long()
    ids = torch.randint(1, 100, mask.shape) * mask
    result = model(input_ids=ids, attention_mask=mask, output_hidden_states=True)
    real = mask[..., None].float()
    pooled = torch.nn.functional.normalize((result.last_hidden_state * real).sum(1) / real.sum(1), dim=-1)
    weights = {k: v for k, v in model.state_dict().items() if v.is_floating_point()}
    out = goldens.with_prefix("weights.", weights)
    out |= {f"hidden.{i}": hidden for i, hidden in enumerate(result.hidden_states)}
    # What a caller sees is zero where padded; the taps above are not.
    out |= {"ids": ids.int(), "mask": mask.int(), "output": result.last_hidden_state * real, "sentence": pooled}
    meta = {"config": json.dumps(CONFIG)}
    goldens.write("kinora-models", "minilm_tiny", out, __file__, SEED, ["transformers"], 1e-4, meta)


if __name__ == "__main__":
    main()
