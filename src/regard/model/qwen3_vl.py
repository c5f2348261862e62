"""Qwen3-VL: the vision tower and the text decoder joined. Read after config, rope, vision, moe, text.

    input_ids -> embeddings; visual rows replace the embeddings of the pad tokens
      -> decoder with DeepStack -> logits of the positions asked for

Dense and MoE, tied and untied heads are the same class; names of parameters equal the checkpoint's.
It does not load weights (`weights/`), choose tokens (`generate`), or know messages.
Shape letters: B batch, T tokens, V visual tokens, H hidden size.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from regard.model.cache import AttentionCache
from regard.model.config import ModelConfig
from regard.model.text import TextModel
from regard.model.vision import Grid, VisionFeatures, VisionModel


class Backbone(nn.Module):
    """The two towers under the checkpoint's `model.` prefix."""

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.visual = VisionModel(config.vision)
        self.language_model = TextModel(config.text)


class Qwen3VL(nn.Module):
    """The whole model. With tied embeddings `lm_head` is None, or a product with them (`weights/integer.py`)."""

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.config = config
        self.model = Backbone(config)
        self.lm_head: nn.Module | None = None
        if not config.tie_word_embeddings:
            self.lm_head = nn.Linear(config.text.hidden_size, config.text.vocab_size, bias=False)

    @property
    def device(self) -> torch.device:
        """Where the embeddings live."""
        return self.model.language_model.embed_tokens.weight.device

    @property
    def dtype(self) -> torch.dtype:
        """The dtype of the embeddings, which is that of the hidden states."""
        return self.model.language_model.embed_tokens.weight.dtype

    def encode_vision(self, pixel_values: Tensor, grid_thw: Sequence[Grid]) -> VisionFeatures:
        """Visual rows of all items in order. Shapes: pixel_values (P, C) float32; rows (V, H) each."""
        features: VisionFeatures = self.model.visual(pixel_values, grid_thw)
        return features

    def hidden_states(
        self,
        input_ids: Tensor,
        position_ids: Tensor,
        *,
        visual: VisionFeatures | None = None,
        visual_mask: Tensor | None = None,
        cache: AttentionCache | None = None,
    ) -> Tensor:
        """Run the decoder over a batch.

        Shapes:  input_ids (B, T); position_ids (3, B, T); visual rows (V, H) go to the V True positions of
                 visual_mask (B, T) in row-major order; returns (B, T, H).
        Errors:  ValueError if the mask and the rows disagree in number.
        """
        x_BTH = self.model.language_model.embed_tokens(input_ids)
        deepstack: tuple[Tensor, ...] = ()
        if visual is not None:
            if visual_mask is None or int(visual_mask.sum()) != visual.embeds.shape[0]:
                raise ValueError(f"{visual.embeds.shape[0]} visual rows were given for another number of pad tokens")
            x_BTH = x_BTH.clone()
            x_BTH[visual_mask] = visual.embeds.to(x_BTH.dtype)
            deepstack = visual.deepstack
        hidden_BTH: Tensor = self.model.language_model(
            x_BTH, position_ids, deepstack=deepstack, visual_mask_BT=visual_mask, cache=cache
        )
        return hidden_BTH

    def logits(self, rows_NH: Tensor) -> Tensor:
        """Scores of the next token for any rows of hidden states. Shapes: (N, H) to (N, vocab)."""
        if self.lm_head is None:
            return torch.nn.functional.linear(rows_NH, self.model.language_model.embed_tokens.weight)
        scores: Tensor = self.lm_head(rows_NH)
        return scores

    def forward(
        self,
        input_ids: Tensor,
        position_ids: Tensor,
        *,
        visual: VisionFeatures | None = None,
        visual_mask: Tensor | None = None,
        cache: AttentionCache | None = None,
        logits_to_keep: int = 0,
    ) -> Tensor:
        """Logits for a batch: `hidden_states`, then (B, T, vocab), or the last `logits_to_keep` of T."""
        hidden_BTH = self.hidden_states(input_ids, position_ids, visual=visual, visual_mask=visual_mask, cache=cache)
        # Flat rows: a slice (1, 1, H) keeps the stride of all T rows, for which the CPU's bf16 product copies the
        # whole head (2B: 0.6 GB and 10 s).
        rows_NH = hidden_BTH[:, -logits_to_keep:].flatten(0, 1)
        return self.logits(rows_NH).view(len(input_ids), -1, self.config.text.vocab_size)
