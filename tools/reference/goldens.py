"""Writing fixtures: deterministic tensors into one safetensors file, and its entry in the manifest beside it."""

import hashlib
import importlib.metadata
import json
import sys
from pathlib import Path

import torch
from safetensors.torch import save_file

MAX_BYTES = 1_000_000


def root():
    """The repository: `--root REPO`, or the one that this file lies in."""
    if "--root" in sys.argv:
        return Path(sys.argv[sys.argv.index("--root") + 1])
    return Path(__file__).resolve().parents[2]


def seeded(seed):
    """Fixes every source of randomness. Two threads, so that sums are split alike on every machine."""
    torch.manual_seed(seed)
    torch.set_num_threads(2)
    torch.set_grad_enabled(False)


def randomise(model, seed, spread=0.5):
    """Gives every parameter a value that matters: matrices keep the size of their outputs, nothing is 0 or 1."""
    generator = torch.Generator().manual_seed(seed)
    for name, tensor in model.state_dict().items():
        if not tensor.is_floating_point():
            continue
        noise = torch.randn(tensor.shape, generator=generator)
        fan_in = tensor[0].numel() if tensor.ndim > 1 else 1
        if name.endswith("scale_shift_table"):
            tensor.copy_(noise * spread)
        elif tensor.ndim > 1:
            tensor.copy_(noise / fan_in**0.5)
        elif name.endswith("weight"):
            tensor.copy_(1 + noise * 0.2)
        else:
            tensor.copy_(noise * 0.2)


def _record(crate, name, entry):
    folder = root() / "crates" / crate / "tests/fixtures"
    data = (folder / name).read_bytes()
    assert len(data) <= MAX_BYTES, f"{name} has {len(data)} bytes"
    path = folder / "manifest.json"
    manifest = json.loads(path.read_text(encoding="utf-8")) if path.exists() else {"fixtures": {}}
    manifest["fixtures"][name] = entry | {"sha256": hashlib.sha256(data).hexdigest(), "bytes": len(data)}
    manifest["fixtures"] = dict(sorted(manifest["fixtures"].items()))
    path.write_text(json.dumps(manifest, indent=1) + "\n", encoding="utf-8")
    print(f"{crate}: {name}, {len(data)} bytes")


def _entry(script, seed, dtype, tolerance, sources):
    versions = {package: importlib.metadata.version(package) for package in ("torch", *sources)}
    return {
        "sources": versions,
        "script": f"tools/reference/{Path(script).name}",
        "seed": seed,
        "dtype": dtype,
        "tolerance": tolerance,
    }


def _folder(crate):
    folder = root() / "crates" / crate / "tests/fixtures"
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def write(crate, name, tensors, script, seed, sources, tolerance=1e-3, meta=None):
    """`tensors` by name into `<crate>/tests/fixtures/<name>.safetensors`."""
    tensors = {key: value.detach().contiguous().clone() for key, value in tensors.items()}
    for key, value in tensors.items():
        assert not value.is_floating_point() or value.isfinite().all(), key
        assert value.dtype in (torch.float32, torch.int32, torch.int64, torch.uint8), (key, value.dtype)
    # One metadata key: safetensors writes several in an order that differs between runs.
    texts = meta or {}
    assert len(texts) <= 1, "put several strings into one JSON text"
    path = _folder(crate) / f"{name}.safetensors"
    save_file(tensors, path, metadata=texts)
    path.chmod(0o644)
    _record(crate, path.name, _entry(script, seed, "f32", tolerance, sources))


def write_json(crate, name, value, script, seed, sources):
    """A JSON fixture with the same record."""
    text = json.dumps(value, indent=0, ensure_ascii=False) + "\n"
    (_folder(crate) / name).write_text(text, encoding="utf-8")
    _record(crate, name, _entry(script, seed, "json", 0.0, sources))


def with_prefix(prefix, state):
    return {f"{prefix}{name}": tensor for name, tensor in state.items()}


class Taps:
    """Outputs of named submodules during a forward pass."""

    def __init__(self, modules):
        self.values = {}
        self.hooks = [module.register_forward_hook(self._keep(name)) for name, module in modules.items()]

    def _keep(self, name):
        def hook(_module, _inputs, output):
            self.values[name] = (output[0] if isinstance(output, tuple) else output).detach().clone()

        return hook

    def __enter__(self):
        return self.values

    def __exit__(self, *_):
        for hook in self.hooks:
            hook.remove()


def write_bytes(crate, name, data, script, seed, sources):
    """Raw bytes (half floats) into `<crate>/tests/fixtures/<name>`."""
    (_folder(crate) / name).write_bytes(data)
    _record(crate, name, _entry(script, seed, "f16", 0.0, sources))


def write_file(crate, name, save, script, seed, dtype, sources):
    """A file of any kind into `<crate>/tests/fixtures/<name>`, which may name a folder: `save(path)` writes it."""
    path = _folder(crate) / name
    path.parent.mkdir(parents=True, exist_ok=True)
    save(path)
    path.chmod(0o644)
    _record(crate, name, _entry(script, seed, dtype, 0.0, sources))
