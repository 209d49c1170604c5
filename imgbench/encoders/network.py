"""What encoders around a torch network share: where it runs, in which precision, in which batches."""

# ruff: noqa: ANN401  tensors and models of libraries without types

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

from imgbench.encoders import batching, weights
from imgbench.encoders.base import Encoder
from imgbench.errors import InputError
from imgbench.types import Precision


class NetworkEncoder(Encoder):
    """An encoder around a torch network; a subclass names its family and its batches by kind of device."""

    family: ClassVar[str]
    batch_sizes: ClassVar[Mapping[str, int]]

    def _hold(
        self,
        network: Any,
        *,
        name: str,
        identity: dict[str, object],
        device: str,
        precision: Precision,
        batch_size: int | None,
    ) -> None:
        """Take the network, moved and cast in place, and what else the embeddings' key has to say of it."""
        kind = device.partition(":")[0]
        self.name, self.device, self.precision = name, device, precision
        self.batch_size = batch_size or self.batch_sizes.get(kind, self.batch_sizes["cpu"])
        # A network on the same cores loses more to decoding threads than their head start is worth: its own
        # threads wait for each other many times a batch.
        self._decodes_meanwhile = kind != "cpu"
        self._grows_from = self.batch_size if kind == "cuda" and batch_size is None else None
        self._described = identity
        self._dtype = weights.torch_dtype(precision)
        self._model = weights.placed(network, device=device, precision=precision)

    def _batch_size(self) -> int:
        kinds = (each.dtype for each in self._model.parameters() if each.is_floating_point())
        if (kind := next(kinds, self._dtype)) != self._dtype:
            raise InputError(
                f"The network of {self.name} was cast to {kind} since.",
                f"It encodes in {self.precision}.",
                "Give each encoder a copy of the model (copy.deepcopy).",
            )
        return super()._batch_size()

    def _image_batch_size(self, count: int) -> int:
        """On a GPU, unless the user chose, the smallest batch that reaches its speed: measured once."""
        if self.batch_size == self._grows_from and count >= batching.TRIAL * self.batch_size:
            self._grows_from = None
            self.batch_size = batching.fastest(self._rate, start=self.batch_size)
            batching.give_back()
        return self._batch_size()

    def _begun(self, images: list[Any]) -> Any:
        rows = batching.in_parts(self._images, images)
        return batching.Returning(rows) if getattr(rows, "is_cuda", False) else rows

    def _rate(self, count: int) -> float:
        """Images a second once they are prepared, in batches of `count`."""
        from PIL import Image

        blank = [self._prepare(Image.new("RGB", (224, 224)))] * count
        return count / batching.cuda_seconds(lambda: self._images(blank), self.device)

    def _identity(self) -> dict[str, object]:
        return {"family": self.family, **self._described}
