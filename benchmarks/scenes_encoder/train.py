"""Trains the encoder that ships with imgbench: a small CLIP in open_clip's architecture, on scenes drawn by
code.

    python benchmarks/scenes_encoder/train.py --out imgbench/encoders
    python benchmarks/scenes_encoder/measure.py

The first command draws 60,000 pictures in a minute or two, trains for 33 minutes on 2 cores with other work
beside it, and writes scenes.safetensors (float16) and scenes.json: the open_clip configuration, the
preprocessing and the record of this training. The second adds the figures that the weights reach. Bit for bit
the same weights come only from the same machine and versions: the files are the fixture, this script says
where they come from.

The shipped weights were trained with LD_PRELOAD=libtcmalloc_minimal.so.4, OMP_WAIT_POLICY=passive. On a busy
machine a step in bf16 took 1.05 s with glibc's allocator and 0.80 s with tcmalloc.
"""

from __future__ import annotations

import argparse
import json
import math
import multiprocessing
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import open_clip
import torch
from safetensors.torch import save_file
from torch.nn import functional
from torch.nn.attention import SDPBackend, sdpa_kernel

from imgbench.corpora.scenes.captions import Claim, claim_of, grades, vocabulary, write
from imgbench.corpora.scenes.drawing import draw_scene
from imgbench.corpora.scenes.world import World, draw_world

PIXELS = 80
CONFIG = {
    "embed_dim": 128,
    "vision_cfg": {"image_size": PIXELS, "patch_size": 10, "width": 128, "layers": 6, "head_width": 32},
    "text_cfg": {"context_length": 40, "vocab_size": 49408, "width": 128, "heads": 4, "layers": 3},
}
PREPROCESS = {
    "mean": [0.5, 0.5, 0.5], "std": [0.25, 0.25, 0.25], "interpolation": "bicubic", "resize_mode": "shortest",
}  # fmt: skip
STREAM = "training"  # shares no random numbers with the gallery that a benchmark draws
DRAWN_SEED = 1_000_003  # of the grain and the places within a picture


@dataclass(frozen=True)
class Words:
    """The few tokens that captions use, numbered from 0 in the order of their ids (the end token stays the
    largest).
    """

    ids: np.ndarray
    tokenizer: open_clip.SimpleTokenizer

    @classmethod
    def of_captions(cls) -> Words:
        tokenizer = open_clip.SimpleTokenizer(context_length=CONFIG["text_cfg"]["context_length"])
        return cls(np.unique(tokenizer(sorted(vocabulary())).numpy()), tokenizer)

    def tokens(self, texts: list[str]) -> torch.Tensor:
        full = self.tokenizer(texts).numpy()
        found = np.searchsorted(self.ids, full)
        assert (self.ids[found] == full).all(), "a caption uses a word outside the vocabulary"
        longest = int((full != 0).sum(axis=1).max())
        return torch.from_numpy(found[:, :longest])


def draw_pictures(size: int, cache: Path) -> np.ndarray:
    """uint8 (size, 80, 80, 3): the training scenes as open_clip's preprocessing hands them to the model."""
    kept = cache / f"scenes-{size}.npy"
    if not kept.exists():
        with multiprocessing.get_context("fork").Pool(2, initializer=_start, initargs=(size,)) as pool:
            pictures = np.stack(pool.map(_picture, range(size), chunksize=500))
        cache.mkdir(parents=True, exist_ok=True)
        np.save(kept, pictures)
    return np.load(kept, mmap_mode="r")


_world: World


def _start(size: int) -> None:
    global _world  # noqa: PLW0603  one world for each drawing process
    _world = draw_world(size, seed=0, stream=STREAM)


def _picture(scene: int) -> np.ndarray:
    from PIL import Image

    drawn = draw_scene(_world, scene, seed=DRAWN_SEED)
    return np.asarray(drawn.resize((PIXELS, PIXELS), Image.Resampling.BICUBIC))


class PatchProduct(torch.nn.Conv2d):
    """The convolution that cuts an image into patches, as one matrix product: its gradient is faster."""

    def forward(self, pixels: torch.Tensor) -> torch.Tensor:
        side, (count, _, height, width) = self.kernel_size[0], pixels.shape
        rows, columns = height // side, width // side
        patches = pixels.reshape(count, -1, rows, side, columns, side).permute(0, 2, 4, 1, 3, 5)
        found = functional.linear(patches.reshape(count, rows * columns, -1), self.weight.flatten(1))
        return found.transpose(1, 2).reshape(count, -1, rows, columns)


def build_model(words: Words, seed: int) -> open_clip.CLIP:
    torch.manual_seed(seed)
    text = {**CONFIG["text_cfg"], "vocab_size": len(words.ids)}
    model = open_clip.CLIP(CONFIG["embed_dim"], CONFIG["vision_cfg"], text)
    model.visual.conv1.__class__ = PatchProduct
    return model


def encode_images(model: open_clip.CLIP, pictures: np.ndarray) -> torch.Tensor:
    mean, std = PREPROCESS["mean"][0], PREPROCESS["std"][0]
    pixels = torch.from_numpy(np.ascontiguousarray(pictures)).permute(0, 3, 1, 2).float()
    return model.encode_image((pixels / 255 - mean) / std, normalize=True).float()


def encode_texts(model: open_clip.CLIP, tokens: torch.Tensor) -> torch.Tensor:
    """open_clip's encode_text on tokens cut to the longest caption: in a causal tower padding changes
    nothing.
    """
    length = tokens.shape[1]
    x = model.token_embedding(tokens) + model.positional_embedding[:length]
    x = model.transformer(x, attn_mask=model.attn_mask[:length, :length])
    x = model.ln_final(x)[torch.arange(len(tokens)), tokens.argmax(dim=1)]
    return functional.normalize(x @ model.text_projection, dim=-1).float()


def batches(world: World, size: int, steps: int, seed: int):
    """Scene numbers of each step: in turn any scenes, and scenes that share four settings, so that objects
    decide.
    """
    dice = np.random.default_rng(seed)
    setting = world.background.astype(int) * 8 + world.weather
    places = [np.flatnonzero(setting == value) for value in np.unique(setting)]
    for step in range(steps):
        if step % 2 or step < steps // 10:
            yield dice.choice(len(world), size, replace=False)
        else:
            chosen = dice.choice(len(places), 4, replace=False)
            yield np.concatenate([dice.choice(places[place], size // 4, replace=False) for place in chosen])


def part_of(world: World, scenes: np.ndarray) -> World:
    return World(
        world.background[scenes], world.weather[scenes], world.colour[:, scenes], world.size[:, scenes],
        world.count[:, scenes], world.column[:, scenes], world.order[:, scenes],
    )  # fmt: skip


def loss_of(
    model: open_clip.CLIP, images: torch.Tensor, texts: torch.Tensor, also_true: torch.Tensor
) -> torch.Tensor:
    """Symmetric InfoNCE in which a caption that is true of another picture of the batch is no negative."""
    logits = model.logit_scale.exp() * texts @ images.T
    logits = logits.masked_fill(also_true, -1e4)
    target = torch.arange(len(logits))
    return (functional.cross_entropy(logits, target) + functional.cross_entropy(logits.T, target)) / 2


def train(arguments: argparse.Namespace) -> None:
    torch.set_num_threads(arguments.threads)
    words = Words.of_captions()
    pictures = draw_pictures(arguments.pictures, arguments.cache)
    world = draw_world(arguments.pictures, seed=0, stream=STREAM)
    model = build_model(words, arguments.seed)
    decayed = [p for p in model.parameters() if p.ndim > 1]
    free = [p for p in model.parameters() if p.ndim <= 1]
    groups = [{"params": decayed, "weight_decay": 0.1}, {"params": free, "weight_decay": 0.0}]
    optimiser = torch.optim.AdamW(groups, lr=arguments.rate, betas=(0.9, 0.98))
    dice = np.random.RandomState(arguments.seed)
    start, seen = time.perf_counter(), []
    for step, scenes in enumerate(batches(world, arguments.batch, arguments.steps, arguments.seed)):
        warm, done = min(1.0, (step + 1) / 100), step / arguments.steps
        for group in optimiser.param_groups:
            group["lr"] = arguments.rate * warm * (0.02 + 0.98 * (1 + math.cos(math.pi * done)) / 2)
        part = part_of(world, scenes)
        claims = [claim_of(part, scene, dice) for scene in range(len(scenes))]
        tokens = words.tokens([write(claim, dice) for claim in claims])
        # Measured on a busy CPU: 0.63 s a step with the plain attention, 0.76 s with the fused one.
        with sdpa_kernel(SDPBackend.MATH):
            with torch.autocast("cpu", dtype=torch.bfloat16):
                images = encode_images(model, pictures[np.sort(scenes)][np.argsort(np.argsort(scenes))])
                texts = encode_texts(model, tokens)
            loss = loss_of(model, images, texts, _also_true(part, claims))
            optimiser.zero_grad(set_to_none=True)
            loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimiser.step()
        with torch.no_grad():
            model.logit_scale.clamp_(0, math.log(100))
        seen.append(loss.item())
        if (step + 1) % arguments.report == 0 or step + 1 == arguments.steps:
            minutes = (time.perf_counter() - start) / 60
            loss = round(float(np.mean(seen[-50:])), 4)
            record = {"steps": step + 1, "minutes": round(minutes, 1), "loss": loss}
            scale = model.logit_scale.exp().item()
            print(record, f"scale {scale:.1f}", validate(model, words), flush=True)
            save(model, words, arguments, record)


def _also_true(part: World, claims: list[Claim]) -> torch.Tensor:
    true = np.stack([grades(part, claim) == 2 for claim in claims])
    np.fill_diagonal(true, val=False)
    return torch.from_numpy(true)


@torch.inference_mode()
def validate(model: open_clip.CLIP, words: Words, size: int = 2000, queries: int = 500) -> str:
    """nDCG@10 with linear gain over a small world of its own stream, so that a person can watch the
    training.
    """
    world = draw_world(size, seed=0, stream="validation")
    dice = np.random.RandomState(0)
    claims = [claim_of(world, scene, dice) for scene in range(queries)]
    global _world  # noqa: PLW0603
    _world = world
    pictures = np.stack([_picture(scene) for scene in range(size)])
    images = torch.cat([encode_images(model, pictures[at : at + 500]) for at in range(0, size, 500)])
    texts = encode_texts(model, words.tokens([write(claim, dice) for claim in claims]))
    best = (texts @ images.T).topk(10).indices.numpy()
    discount = 1 / np.log2(np.arange(2, 12))
    scores = []
    for claim, ranked in zip(claims, best, strict=True):
        grade = grades(world, claim).astype(float)
        scores.append((grade[ranked] * discount).sum() / (np.sort(grade)[::-1][:10] * discount).sum())
    return f"nDCG@10 {np.mean(scores):.3f} over {size} scenes"


def save(
    model: open_clip.CLIP, words: Words, arguments: argparse.Namespace, record: dict[str, object]
) -> None:
    """Weights in float16; of the token table only the rows that captions use travel."""
    state = {name: value.half().contiguous() for name, value in model.state_dict().items()}
    state["token_embedding.rows"] = state.pop("token_embedding.weight")
    state["token_embedding.ids"] = torch.from_numpy(words.ids.astype(np.int32))
    arguments.out.mkdir(parents=True, exist_ok=True)
    save_file(state, arguments.out / "scenes.safetensors")
    options = {name: getattr(arguments, name) for name in ("seed", "batch", "rate", "pictures", "threads")}
    training = {**options, **record, "torch": torch.__version__}
    about = {"model_cfg": CONFIG, "preprocess_cfg": PREPROCESS, "training": training}
    (arguments.out / "scenes.json").write_text(json.dumps(about, indent=1) + "\n", encoding="utf-8")


def main() -> None:
    raw = argparse.RawDescriptionHelpFormatter
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=raw)
    parser.add_argument("--out", type=Path, required=True, help="takes scenes.safetensors and scenes.json")
    parser.add_argument("--cache", type=Path, default=Path("out/scenes"), help="keeps the drawn pictures")
    parser.add_argument("--pictures", type=int, default=60_000)
    parser.add_argument("--steps", type=int, default=2200)
    parser.add_argument("--batch", type=int, default=256)
    parser.add_argument("--rate", type=float, default=1.5e-3)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--report", type=int, default=100)
    train(parser.parse_args())


if __name__ == "__main__":
    main()
