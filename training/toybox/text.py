"""The text encoder (all-MiniLM-L6-v2, frozen) and its tokenizer: prompts -> [B, 64, 384], zeros where there is no word."""

import json
from pathlib import Path

import torch
import torch.nn as nn
import torch.nn.functional as F

from stored import read_weights

TOKENS, WIDTH, LAYERS, HEADS = 64, 384, 6, 12


class TextEncoder(nn.Module):
    def __init__(self, folder, dtype=torch.float32):
        super().__init__()
        for name, value in read_weights(Path(folder) / "model.safetensors").items():
            self.register_buffer(name.replace(".", "__"), value.to(dtype))

    def get(self, name):
        return getattr(self, name.replace(".", "__"))

    def linear(self, x, name):
        return F.linear(x, self.get(name + ".weight"), self.get(name + ".bias"))

    def norm(self, x, name):
        weight, bias = self.get(name + ".weight").float(), self.get(name + ".bias").float()
        return F.layer_norm(x.float(), (WIDTH,), weight, bias, 1e-12).to(x.dtype)

    @torch.no_grad()
    def forward(self, ids, lengths):
        """ids [B, 64], lengths [B] -> [B, 64, 384]"""
        batch, tokens = ids.shape
        x = self.get("embeddings.word_embeddings.weight")[ids.long()]
        x = (
            x
            + self.get("embeddings.position_embeddings.weight")[:tokens]
            + self.get("embeddings.token_type_embeddings.weight")[0]
        )
        x = self.norm(x, "embeddings.LayerNorm")
        real = torch.arange(tokens, device=ids.device)[None] < lengths[:, None]
        for i in range(LAYERS):
            layer = f"encoder.layer.{i}."
            q, k, v = (
                self.linear(x, layer + "attention.self." + part).view(batch, tokens, HEADS, -1).transpose(1, 2)
                for part in ("query", "key", "value")
            )
            o = (
                F.scaled_dot_product_attention(q, k, v, attn_mask=real[:, None, None, :])
                .transpose(1, 2)
                .reshape(batch, tokens, WIDTH)
            )
            x = self.norm(self.linear(o, layer + "attention.output.dense") + x, layer + "attention.output.LayerNorm")
            h = F.gelu(self.linear(x, layer + "intermediate.dense"))
            x = self.norm(self.linear(h, layer + "output.dense") + x, layer + "output.LayerNorm")
        return x * real[..., None].to(x.dtype)


class Tokenizer:
    def __init__(self, folder):
        from tokenizers import Tokenizer as Reader

        self.reader = Reader.from_str(json.dumps(json.loads((Path(folder) / "tokenizer.json").read_text())))
        self.reader.enable_truncation(TOKENS)
        self.reader.enable_padding(length=TOKENS)

    def __call__(self, texts):
        """ids [B, 64] and lengths [B], int32"""
        found = self.reader.encode_batch(list(texts))
        ids = torch.tensor([e.ids for e in found], dtype=torch.int32)
        return ids, torch.tensor([sum(e.attention_mask) for e in found], dtype=torch.int32)
