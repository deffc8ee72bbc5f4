"""Trains the bundled model: ``python training/train.py`` runs, or goes on with, every stage of config.toml.

Two processes with a thread each share the gradient: on a busy machine far better than two threads. Weights
are bfloat16 with float32 masters. Checkpoints and the log go to training/runs/.
"""

from __future__ import annotations

import argparse
import json
import math
import shutil
import time
import tomllib
from collections import defaultdict
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.distributed as dist
import torch.multiprocessing as mp
import torch.nn.functional as F
from data import TASKS, Batch, Encoder, make_batch
from heads import Heads
from labels import IGNORE
from model import Size, Tarsier
from tokenizer import build
from torch import Tensor, nn

SLOW = 0.2
"""Learning rate of what a stage calls slow, relative to the others'."""
HERE = Path(__file__).resolve().parent


class Learner(nn.Module):
    """The model with its heads; one forward gives all losses of a stage."""

    def __init__(self, size: Size) -> None:
        super().__init__()
        self.model = Tarsier(size)
        self.model.initialize()
        self.heads = Heads(size)

    def losses(
        self, batch: Batch, stage: dict[str, Any]
    ) -> tuple[dict[str, dict[str, Tensor]], dict[str, Tensor]]:
        """Losses by group, and the accuracies to print."""
        weights, depth = stage["weights"], stage.get("depth")
        losses, right = {}, {}
        if depth == 0:
            cells = self.model.vision_tower(batch.frames.flatten(0, 1))
            losses["vision"], right = self.heads.vision(cells.flatten(0, 1), batch)
            return losses, right
        cells, states = self.model(batch.frames, batch.ids, batch.positions, batch.layout, depth)
        for group, call, given in (
            ("vision", self.heads.vision, cells.flatten(0, 1)),
            ("prefix", self.heads.prefix, states),
            ("text", self.heads.text, states),
        ):
            if weights.get(group):
                losses[group], measured = call(given, batch)
                right |= measured
        if weights.get("look"):
            loss, right["look"] = self.heads.look(states, batch, self.model)
            hop, right["hop"] = self.heads.hop(states, batch, self.model)
            ends = batch.letters != IGNORE
            signs = self.model.logits(states[5][:, batch.layout.prefix :][ends]).float()
            letter = F.cross_entropy(signs, batch.letters[ends], reduction="sum") / ends.sum().clamp(min=1)
            right["letter"] = (signs.argmax(-1) == batch.letters[ends]).float().mean()
            losses["look"] = {"look": loss, "hop": hop, "letter": letter}
        if weights.get("language"):
            loss, measured = self.language(states[-1], batch)
            losses["language"] = {"language": loss}
            right |= measured
        return losses, right

    def language(self, last: Tensor, batch: Batch) -> tuple[Tensor, dict[str, Tensor]]:
        """Loss of the replies, each turn weighted by the root of its length, and the shares all right."""
        known = batch.targets != IGNORE
        target, turn = batch.targets[known], batch.turns[known]
        logits = self.model.logits(last[known]).float()
        length = torch.bincount(turn, minlength=len(batch.tasks)).float()
        decided = torch.tensor(
            [3.0 if name in ("yes_no", "happens", "choice") else 1.0 for name in batch.tasks]
        )
        weight = length[turn].rsqrt() * decided[turn]  # one word decides these
        loss = (F.cross_entropy(logits, target, reduction="none") * weight).sum() / weight.sum()
        hit = (logits.argmax(-1) == target).float()
        exact = torch.ones(len(batch.tasks)).scatter_reduce(0, turn, hit, "amin")
        measured = {}
        for task in TASKS:
            mine = torch.tensor([name == task for name in batch.tasks])
            if bool(mine.any()):
                measured[task] = exact[mine].mean()
        return loss, measured


class Optimizer:
    """Muon for matrices, AdamW for the rest, on float32 masters of the weights under training."""

    def __init__(self, named: list[tuple[str, nn.Parameter]], lr: float, slow: list[str]) -> None:
        self.live = [parameter for _, parameter in named]
        self.masters = [parameter.detach().float().clone().requires_grad_() for parameter in self.live]
        table = ("embed_tokens", "lm_head", "heads.")
        groups: dict[tuple[bool, bool], list[Tensor]] = defaultdict(list)
        for (name, parameter), master in zip(named, self.masters, strict=True):
            wide = parameter.ndim == 2 and not any(word in name for word in table)
            groups[wide, any(part in name for part in slow)].append(master)
        matrix = [
            {"params": p, "lr": lr * (SLOW if late else 1.0)} for (wide, late), p in groups.items() if wide
        ]
        rest = [
            {"params": p, "lr": 0.25 * lr * (SLOW if late else 1.0)}
            for (wide, late), p in groups.items()
            if not wide
        ]
        self.parts = [
            torch.optim.AdamW(rest, betas=(0.9, 0.98), weight_decay=0.0),
            torch.optim.Muon(matrix, weight_decay=0.02),
        ]
        self.base = [[group["lr"] for group in part.param_groups] for part in self.parts]

    def step(self, factor: float) -> float:
        """One step with all learning rates times ``factor``; the norm of the mean gradient."""
        flat = torch.cat([
            (p.grad.flatten().float() if p.grad is not None else torch.zeros(p.numel())) for p in self.live
        ])  # fmt: skip
        if dist.is_initialized():
            dist.all_reduce(flat)
            flat /= dist.get_world_size()
        norm = float(flat.norm())
        if not math.isfinite(norm):
            raise FloatingPointError("the gradient is not finite")
        flat *= min(1.0, 2.0 / (norm + 1e-6))
        at = 0
        for live, master in zip(self.live, self.masters, strict=True):
            master.grad = flat[at : at + master.numel()].view_as(master)
            at += master.numel()
            live.grad = None
        for part, base in zip(self.parts, self.base, strict=True):
            for group, lr in zip(part.param_groups, base, strict=True):
                group["lr"] = lr * factor
            part.step()
        with torch.no_grad():
            for live, master in zip(self.live, self.masters, strict=True):
                live.copy_(master)
        return norm


def work(rank: int, options: argparse.Namespace, config: dict[str, Any]) -> None:
    """One of the processes."""
    torch.set_num_threads(1)
    folder: Path = options.run
    if config["processes"] > 1:
        store = dist.FileStore(str(folder / f"store-{options.stamp}"), config["processes"])
        dist.init_process_group("gloo", store=store, rank=rank, world_size=config["processes"])
    torch.manual_seed(config["seed"])
    learner = Learner(Size())
    at, first = 0, 0
    saved = None
    path = folder / "last.pt"
    if path.exists():
        saved = torch.load(path, map_location="cpu", weights_only=True)
        learner.model.load_state_dict(saved["model"])
        learner.heads.load_state_dict(saved["heads"], strict=False)
        at, first = saved["stage"], saved["step"]
    masters = learner.state_dict()
    learner = learner.to(torch.bfloat16)
    encoder = Encoder(build())
    for number, stage in enumerate(config["stage"]):
        if number < at:
            continue
        named = [(name, p) for name, p in learner.named_parameters()
                 if any(name.removeprefix("model.").startswith(part) for part in stage["train"])]  # fmt: skip
        trained = {name for name, _ in named}
        for name, parameter in learner.named_parameters():  # the vision tower, left alone, needs no backward
            parameter.requires_grad_(name in trained)
        optimizer = Optimizer(named, stage["lr"], stage.get("slow", []))
        for (name, _), master in zip(named, optimizer.masters, strict=True):
            master.data.copy_(masters[name])
        begin = first if number == at else 0
        if begin and saved is not None:
            for part, state in zip(optimizer.parts, saved["optimizer"], strict=True):
                part.load_state_dict(state)
        run_stage(rank, learner, optimizer, named, masters, encoder, number, stage, config, begin, folder)
    if dist.is_initialized():
        dist.destroy_process_group()


def run_stage(
    rank: int,
    learner: Learner,
    optimizer: Optimizer,
    named: list[tuple[str, nn.Parameter]],
    masters: dict[str, Tensor],
    encoder: Encoder,
    number: int,
    stage: dict[str, Any],
    config: dict[str, Any],
    begin: int,
    folder: Path,
) -> None:
    """The steps of a stage from ``begin`` on; ``masters`` holds the float32 weights afterwards."""
    mix = {**config["mix"], **stage.get("mix", {})}
    seen: dict[str, list[float]] = defaultdict(list)
    start, data_s = time.monotonic(), 0.0

    def save(stage_number: int, step: int) -> None:
        for (name, _), master in zip(named, optimizer.masters, strict=True):
            masters[name] = master.detach().clone()
        if rank:
            return
        state = {
            "model": {
                key.removeprefix("model."): value
                for key, value in masters.items()
                if key.startswith("model.")
            },
            "heads": {
                key.removeprefix("heads."): value
                for key, value in masters.items()
                if key.startswith("heads.")
            },
            "optimizer": [part.state_dict() for part in optimizer.parts],
            "stage": stage_number,
            "step": step,
        }
        torch.save(state, folder / "new.pt")
        (folder / "new.pt").replace(folder / "last.pt")
        if not step:
            shutil.copy(folder / "last.pt", folder / f"after-{stage['name']}.pt")

    for step in range(begin, stage["steps"]):
        clock = time.monotonic()
        rng = np.random.default_rng((config["seed"], number, step, rank))
        batch = make_batch(encoder, rng, stage["clips"], stage["bins"], mix)
        batch.frames = batch.frames.to(torch.bfloat16)
        if batch.layout.mask is not None:
            batch.layout = batch.layout.with_mask(batch.layout.mask.to(torch.bfloat16))
        data_s += time.monotonic() - clock
        groups, right = learner.losses(batch, stage)
        total = sum(
            stage["weights"][group] * loss for group, parts in groups.items() for loss in parts.values()
        )
        assert isinstance(total, Tensor)
        total.backward()
        factor = min(1.0, (step + 1) / 40) * (1 - 0.95 * step / stage["steps"])
        norm = optimizer.step(factor)
        for group, parts in groups.items():
            seen[f"loss_{group}"].append(float(sum(parts.values()).detach()))
        for name, value in right.items():
            seen[name].append(float(value.detach()))
        seen["norm"].append(norm)
        if rank == 0 and (step + 1) % 25 == 0:
            report = {name: round(float(np.nanmean(values)), 3) for name, values in seen.items()}
            pace = (time.monotonic() - start) / (step + 1 - begin)
            line = {"stage": stage["name"], "step": step + 1, "s_per_step": round(pace, 2),
                    "data_share": round(data_s / (time.monotonic() - start), 2), **report}  # fmt: skip
            print(
                time.strftime("%H:%M:%S"),
                " ".join(f"{key}={value}" for key, value in line.items()),
                flush=True,
            )
            with (folder / "log.jsonl").open("a") as log:
                log.write(json.dumps(line) + "\n")
            seen.clear()
        if (step + 1) % config["save_every"] == 0:
            save(number, step + 1)
    save(number + 1, 0)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--config", type=Path, default=HERE / "config.toml")
    parser.add_argument("--run", type=Path, default=HERE / "runs" / "tiny", help="goes on where it stopped")
    options = parser.parse_args()
    options.run.mkdir(parents=True, exist_ok=True)
    options.stamp = f"{time.time():.0f}"
    config = tomllib.loads(options.config.read_text())
    if config["processes"] == 1:
        work(0, options, config)
    else:
        mp.spawn(work, (options, config), nprocs=config["processes"])


if __name__ == "__main__":
    main()
