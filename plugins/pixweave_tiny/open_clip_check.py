"""Reference embeddings of a small CLIP, computed by open_clip, that `tiny` must agree with."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import open_clip
import torch
import torch.nn.functional as F
from torch import Tensor

from pixweave_tiny.clip_files import HERE, WEIGHTS, config_of


class Reference:
    """A perceptor made of open_clip's own code, in float32 on the CPU."""

    def __init__(self, weights: Path | None) -> None:
        settings = config_of(weights)["model_cfg"]
        merges = settings["text_cfg"]["tokenizer_kwargs"]
        if not Path(merges["bpe_path"]).is_file():
            beside = (weights or WEIGHTS).parent / Path(merges["bpe_path"]).name
            merges["bpe_path"] = str(beside if beside.is_file() else HERE / beside.name)
        with tempfile.TemporaryDirectory() as folder:
            Path(folder, "pixweave-reference.json").write_text(json.dumps(settings), "utf-8")
            open_clip.add_model_config(folder)
        model = open_clip.create_model("pixweave-reference", pretrained=str(weights or WEIGHTS))
        self.model: Any = model.eval()
        self.tokenizer = open_clip.get_tokenizer("pixweave-reference")

    def encode_image(self, crops: Tensor) -> Tensor:
        """Unit vectors `[N, D]` of images `[N, 3, S, S]`, 0..1."""
        return F.normalize(self.model.encode_image(crops), dim=-1)

    def encode_text(self, texts: Sequence[str]) -> Tensor:
        """Unit vectors `[P, D]` of the texts."""
        with torch.no_grad():
            return F.normalize(self.model.encode_text(self.tokenizer(list(texts))), dim=-1)
