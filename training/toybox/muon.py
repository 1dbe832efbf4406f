"""Muon for the matrices of the transformer: momentum, made orthogonal by five Newton-Schulz steps, many at once.

Source: Keller Jordan et al., "Muon", 2024; coefficients per step after the Polar Express (Amsel et al., 2025).
"""

import torch

COEFFICIENTS = [
    (4.0848, -6.8946, 2.9270),
    (3.9505, -6.3029, 2.6377),
    (3.7418, -5.5913, 2.3037),
    (2.8769, -3.1427, 1.2046),
    (2.8366, -3.0525, 1.2012),
]


class Muon:
    def __init__(self, parameters, momentum=0.95, weight_decay=0.02):
        self.groups = {}
        for p in parameters:
            self.groups.setdefault(tuple(p.shape), []).append(p)
        self.buffers = {k: torch.zeros(len(v), *k, device=v[0].device) for k, v in self.groups.items()}
        self.momentum, self.weight_decay = momentum, weight_decay

    @torch.no_grad()
    def step(self, lr):
        for shape, parameters in self.groups.items():
            gradient, buffer = torch.stack([p.grad.float() for p in parameters]), self.buffers[shape]
            buffer.lerp_(gradient, 1 - self.momentum)
            update = orthogonal(gradient.lerp(buffer, self.momentum)).float() * (0.2 * max(shape) ** 0.5)
            torch._foreach_mul_(parameters, 1 - lr * self.weight_decay)
            torch._foreach_add_(parameters, list(update.unbind(0)), alpha=-lr)

    def state_dict(self):
        return {str(k): v for k, v in self.buffers.items()}

    def load_state_dict(self, state):
        for k, v in self.buffers.items():
            v.copy_(state[str(k)])


def orthogonal(matrices):
    """[N, rows, columns] -> the nearest matrices with orthonormal rows (or columns), in bf16"""
    tall = matrices.shape[1] > matrices.shape[2]
    x = matrices.mT.bfloat16() if tall else matrices.bfloat16()
    x = x / (x.norm(dim=(1, 2), keepdim=True) + 1e-7)
    for a, b, c in COEFFICIENTS:
        s = x @ x.mT
        x = a * x + (b * s + c * s @ s) @ x
    return x.mT if tall else x
