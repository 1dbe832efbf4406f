"""What makes the decoder sharp: a network that tells crops of clips from what the autoencoder made of them.

It sees patches of about 34 pixels over 7 frames, so that it sees motion, and gives each patch a number. The loss is the
relativistic one of pairs, with zero-centred gradient penalties on both originals and reconstructions (R3GAN, Huang et al.,
"The GAN is dead; long live the GAN!", NeurIPS 2024): with the penalties the game converges locally, proven there, and
needs neither normalisation nor other tricks; and an autoencoder has the pairs, so that what is compared is the same place
of the same clip and not one clip with another. The penalties are computed every few steps and weigh as much more
(StyleGAN2, Karras et al. 2020).
"""

import torch
import torch.nn as nn
import torch.nn.functional as F

WIDTHS = (32, 64, 96, 96)
REACH = 8  # pixels from one patch to the next
# Tried on the product's reconstructions, which differ by little from the originals: after 80 steps the loss on held-out crops
# was 0.692 with 1 (0.693 is chance), 0.671 with 0.1, 0.650 with 0.02.
PENALTY = 0.02
PENALTY_EVERY = 4
PENALTY_SHARE = 4  # one of so many clips of a batch is asked for its gradient
LR = 5e-4


def with_neighbours(x, clips):
    """Frames [clips*T, C, H, W] -> [clips*T, 3C, H, W]: each with the one before and the one after it, zeros at the ends."""
    frames = x.unflatten(0, (clips, -1))
    padded = F.pad(frames, (0, 0, 0, 0, 0, 0, 1, 1))
    return torch.cat([padded[:, :-2], frames, padded[:, 2:]], 2).flatten(0, 1)


class Discriminator(nn.Module):
    """Clips [B, T, 3, H, W] in 0 to 1 -> a number for each patch [B, T, H/8, W/8]; more is more real.

    Convolutions in two dimensions over a frame and its neighbours, as the autoencoder has them: fast in bf16, and their
    second derivatives, which the penalties need, are too.
    """

    def __init__(self, widths=WIDTHS):
        super().__init__()
        a, b, c, d = widths
        self.first = nn.Conv2d(3 * 2**2, a, 3, padding=1)
        self.over_time = nn.ModuleList(
            [
                nn.Conv2d(3 * a, b, 3, stride=2, padding=1),
                nn.Conv2d(3 * b, c, 3, stride=2, padding=1),
                nn.Conv2d(3 * c, d, 3, padding=1),
            ]
        )
        self.last = nn.Conv2d(d, 1, 1)

    def forward(self, clips):
        count = clips.shape[0]
        x = F.pixel_unshuffle(2 * clips.flatten(0, 1) - 1, 2).contiguous(memory_format=torch.channels_last)
        x = F.leaky_relu(self.first(x), 0.2)
        for layer in self.over_time:
            x = F.leaky_relu(layer(with_neighbours(x, count)), 0.2)
        return self.last(x).float().squeeze(1).unflatten(0, (count, -1))


def patch_weight(pixels):
    """Weights of pixels [B*T, 1, H, W] -> those of patches [B, T, H/8, W/8], 1 in the mean."""
    weight = F.avg_pool2d(pixels, REACH).squeeze(1)
    return weight / weight.mean()


def discriminator_loss(real, fake, weight):
    """real and fake: numbers of the same patches. Small if each original is found more real than its copy."""
    return (F.softplus(fake - real) * weight).mean()


def generator_loss(real, fake, weight):
    """Small if each copy is found more real than its original."""
    return (F.softplus(real - fake) * weight).mean()


def gradient_penalty(discriminator, clips):
    """Mean squared gradient of a patch's number with respect to the pixels. In f32: it is differentiated again."""
    clips = clips.detach().float().requires_grad_()
    with torch.autocast(clips.device.type, enabled=False):
        numbers = discriminator(clips)
        (gradient,) = torch.autograd.grad(numbers.sum(), clips, create_graph=True)
    return gradient.pow(2).sum() / numbers.numel()


class Adversary:
    """The discriminator, its optimizer, and what it asks of the decoder."""

    def __init__(self, device, share, widths=WIDTHS):
        """share: norm of the gradient that the decoder gets from here, as a share of that of its own loss"""
        self.network = Discriminator(widths).to(device).to(memory_format=torch.channels_last)
        self.optimizer = torch.optim.Adam(self.network.parameters(), lr=LR, betas=(0.0, 0.99))
        self.share, self.steps = share, 0

    def pull(self, made, original, own_gradient, weight, strength, autocast):
        """The gradient for the frames `made` that makes them look real, as large as `strength * share` of `own_gradient`.

        As in VQGAN (Esser et al. 2021) the weight follows the gradients, taken at the frames rather than at the last layer:
        the decoder is then passed once, not twice. Equal norms at the frames are five to ten times as large a share at the
        last layer (measured on the product's decoder: L1's gradient is noise there and cancels out, this one does not), so
        that a share of 0.05 here is about 0.25 to 0.5 there.
        """
        made = made.detach().requires_grad_()
        self.network.requires_grad_(False)
        with autocast():
            with torch.no_grad():
                real = self.network(original)
            fake = self.network(made)
        loss = generator_loss(real, fake, weight)
        (gradient,) = torch.autograd.grad(loss, made)
        self.network.requires_grad_(True)
        scale = self.share * strength * own_gradient.norm() / (gradient.norm() + 1e-8)
        return gradient * scale, loss.detach()

    def learn(self, original, made, weight, autocast):
        """One step of the discriminator on originals and copies."""
        made = made.detach()
        with autocast():
            real, fake = self.network(original), self.network(made)
        loss = discriminator_loss(real, fake, weight)
        total = loss
        if self.steps % PENALTY_EVERY == 0:
            some = max(1, original.shape[0] // PENALTY_SHARE)
            penalties = sum(gradient_penalty(self.network, clips[:some]) for clips in (original, made))
            total = total + 0.5 * PENALTY * PENALTY_EVERY * penalties
        total.backward()
        self.optimizer.step()
        self.optimizer.zero_grad(set_to_none=True)
        self.steps += 1
        return loss.detach(), (real > fake).float().mean()

    def state_dict(self):
        return {
            "network": self.network.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "steps": self.steps,
        }

    def load_state_dict(self, state):
        self.network.load_state_dict(state["network"])
        self.optimizer.load_state_dict(state["optimizer"])
        self.steps = state["steps"]
