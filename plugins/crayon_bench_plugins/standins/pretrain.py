"""Make the weights of the small CNN for a stand-in: ``python -m crayon_bench_plugins.standins.pretrain faces FILE``.

The auxiliary task is unbiased: the generator draws label, shortcut and nuisances independently of each other, and the
network learns to tell them all at once, each with a linear layer of its own, which is thrown away. It plays the part
that ImageNet plays for photographs: the body knows more than the shortcut. The committed files were made by this
script with its defaults; on another machine or with another PyTorch the last bits differ, and so does the sha256.
"""

import argparse
import hashlib
from collections.abc import Mapping
from dataclasses import fields
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import save
from torch import Tensor, nn

from crayon_bench import CNNSpec, ConvNet
from crayon_bench_plugins.standins.birds.drawing import draw_birds
from crayon_bench_plugins.standins.birds.sample import Birds, sample_birds
from crayon_bench_plugins.standins.faces.drawing import draw_faces
from crayon_bench_plugins.standins.faces.features import LOOKS
from crayon_bench_plugins.standins.faces.sample import Faces, sample_faces
from crayon_bench_plugins.standins.faces.stickers import KINDS

TASKS = {
    "faces": (
        *("blond", "smiling", "glasses", "hat", "beard", "lipstick", "style", "skin", "background", "light"),
        "sticker",
    ),
    "birds": ("species", "variant", "left", "light"),
}


def examples(kind: str, n: int, seed: int) -> tuple[Tensor, dict[str, Tensor]]:
    """Return n images, uint8 (n, 3, H, W), and for each task its classes, int64 (n,)."""
    random = np.random.RandomState(seed)
    first, second = random.randint(0, 2, n), random.randint(0, 2, n)
    drawn: Faces | Birds
    extra: dict[str, np.ndarray] = {}
    if kind == "faces":
        drawn = sample_faces(first, second, random)
        stickers = random.randint(0, len(KINDS), n)
        # The first edition's smiles, which show less: a body that finds smiles at once would have no need of stickers.
        images, _ = draw_faces(drawn, random, stickers, LOOKS[0])
        extra["sticker"] = stickers
    else:
        drawn = sample_birds(first, second, random)
        images, _ = draw_birds(drawn, random)
    values: Mapping[str, np.ndarray] = {field.name: getattr(drawn, field.name) for field in fields(drawn)} | extra
    targets = {name: torch.from_numpy(np.asarray(values[name])) for name in TASKS[kind]}
    if kind == "birds":  # five species of each kind: ten classes; and as many scenes as variants of both kinds
        targets["species"] = targets["species"] + 5 * torch.from_numpy(first)
        targets["variant"] = targets["variant"] + 4 * torch.from_numpy(second)
    return torch.from_numpy(images), targets


def pretrain(kind: str, *, n: int = 8000, epochs: int = 14, batch: int = 64, lr: float = 2e-3) -> dict[str, Tensor]:
    """Return the body's state after training on the auxiliary task; prints the accuracies on fresh images."""
    images, targets = examples(kind, n, seed=20)
    model = ConvNet(CNNSpec(name="small-cnn", weights="none", scaling="symmetric"), (3, *images.shape[2:]), 2, seed=0)
    torch.manual_seed(0)
    heads = nn.ModuleDict({name: nn.Linear(model.channels, int(t.max()) + 1) for name, t in targets.items()})
    parameters = [*model.body.parameters(), *heads.parameters()]
    steps = epochs * -(-n // batch)
    adam = torch.optim.Adam(parameters, lr=lr, weight_decay=1e-4)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(adam, steps)
    for epoch in range(1, epochs + 1):
        model.train()
        for index in torch.split(torch.randperm(n), batch):
            pooled = model.features(images[index]).mean((-2, -1))
            losses = [nn.functional.cross_entropy(head(pooled), targets[name][index]) for name, head in heads.items()]
            adam.zero_grad()
            torch.autograd.backward(torch.stack(losses).sum())
            adam.step()
            schedule.step()
        print(f"epoch {epoch} of {epochs}", flush=True)
    model.eval()
    fresh, truth = examples(kind, 2000, seed=21)
    with torch.no_grad():
        pooled = torch.cat([model.features(part).mean((-2, -1)) for part in torch.split(fresh, 500)])
        for name, head in heads.items():
            right = (head(pooled).argmax(-1) == truth[name]).double().mean()
            print(f"{name}: {float(right):.1%} of fresh images right")
    return {name: value.contiguous() for name, value in model.body.state_dict().items()}


def main() -> None:
    """Write the file and print its sha256."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("kind", choices=sorted(TASKS))
    parser.add_argument("file", type=Path)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    content = save(pretrain(arguments.kind), metadata={"scaling": "symmetric", "made by": __name__})
    arguments.file.write_bytes(content)
    print(f"{arguments.file}: {len(content):,} bytes, sha256 {hashlib.sha256(content).hexdigest()}")


if __name__ == "__main__":
    main()
