"""Writes layers.pt and plain.pt beside itself and prints what TorchScriptTest expects."""
import os

import torch
from torch import nn


def net():
    return nn.Sequential(
        nn.Conv2d(3, 4, 3, stride=2), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Dropout(0.5))


class Layers(nn.Module):
    """As the Inception file that clean-fid uses: a part called layers, and something after it."""

    def __init__(self):
        super().__init__()
        self.layers = net()

    def forward(self, x):
        return self.layers(x).view(x.shape[0], -1) * 2


class Plain(nn.Module):
    def __init__(self):
        super().__init__()
        self.net = net()

    def forward(self, x):
        return self.net(x)


torch.manual_seed(0)
layers, plain = Layers(), Plain()
plain.net.load_state_dict(layers.layers.state_dict())
folder = os.path.dirname(os.path.abspath(__file__))
torch.jit.script(layers).save(os.path.join(folder, "layers.pt"))
torch.jit.script(plain).save(os.path.join(folder, "plain.pt"))
layers.eval(), plain.eval()
with torch.no_grad():
    x = torch.sin(torch.arange(75).float() * 0.37).view(1, 3, 5, 5)
    print(layers(x).flatten().tolist(), plain(x).flatten().tolist())
    x = torch.sin(torch.arange(3 * 299 * 299).float() * 0.0037).view(1, 3, 299, 299)
    print("299:", plain((x * 127.5 + 127.5 - 128) / 128).flatten().tolist())
