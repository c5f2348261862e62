"""The processor of a Transformers program: text, pictures and clips to tensors, and ids back to text.

    processor = AutoProcessor.from_pretrained("nano")
    inputs = processor.apply_chat_template(messages, tokenize=True, add_generation_prompt=True, return_dict=True,
                                           return_tensors="pt")
    inputs = processor(text=[text], images=images, videos=videos, video_metadata=metadata, do_resize=False,
                       padding=True, return_tensors="pt")
    processor.batch_decode(ids, skip_special_tokens=True)

ids, masks, pixels and grids equal transformers' 5.23, its dialect of videos included. `video_dialect="authors"` in
`from_pretrained` writes clips as the authors' own code does, which is what the weights were trained with.

Options may come flat or in `text_kwargs`, `images_kwargs`, `videos_kwargs` and `common_kwargs`; flat `size` and
`do_resize` hold for pictures and clips, as there. Not honoured, and refused: masks of the assistant's tokens,
continuing the last message, documents, audio, character offsets.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch

from regard.compat.conversations import named_media, read_conversations
from regard.compat.features import BatchFeature
from regard.compat.image_processor import NAMES as IMAGE_NAMES
from regard.compat.image_processor import ImageProcessor
from regard.compat.prompt import Placeholder, encode_prompts
from regard.compat.refusal import Options, drop, only, refuse_rest, shown
from regard.compat.tokenizer import PaddingTokenizer
from regard.compat.video_processor import NAMES as VIDEO_NAMES
from regard.compat.video_processor import CutClip, VideoProcessor
from regard.errors import ConfigError, InputError
from regard.model.config import ModelConfig
from regard.processing.chat_template import ChatTemplate
from regard.processing.processor import IMAGE_PAD, VIDEO_PAD, VideoDialect
from regard.processing.tokenizer import Tokenizer
from regard.weights.checkpoint import read_config
from regard.weights.hub import resolve_model

TEXT_NAMES = frozenset(
    {
        *("padding", "padding_side", "max_length", "truncation", "pad_to_multiple_of", "return_attention_mask"),
        *("add_special_tokens", "verbose", "return_token_type_ids", "is_split_into_words"),
    }
)
_GROUPS = {"text_kwargs": TEXT_NAMES, "images_kwargs": IMAGE_NAMES, "videos_kwargs": VIDEO_NAMES}


class Qwen3VLProcessor:
    """Tokenizer, image processor, video processor and chat template of one checkpoint."""

    def __init__(
        self,
        config: ModelConfig,
        raw_tokenizer: Tokenizer,
        tokenizer: PaddingTokenizer,
        image_processor: ImageProcessor,
        video_processor: VideoProcessor,
        template: ChatTemplate,
        video_dialect: VideoDialect,
    ) -> None:
        if video_dialect not in ("authors", "transformers"):
            raise ConfigError(f"video_dialect is {video_dialect!r}; it must be 'authors' or 'transformers'")
        self._config, self._raw_tokenizer, self._template = config, raw_tokenizer, template
        self.tokenizer = tokenizer
        self.image_processor = image_processor
        self.video_processor = video_processor
        self.video_dialect = video_dialect
        self.image_token, self.image_token_id = IMAGE_PAD, config.image_token_id
        self.video_token, self.video_token_id = VIDEO_PAD, config.video_token_id

    @classmethod
    def from_pretrained(
        cls,
        name: str | Path,
        *,
        video_dialect: VideoDialect = "transformers",
        padding_side: str | None = None,
        **options: Any,
    ) -> Qwen3VLProcessor:
        """Read the processor of "nano", a folder or a hub id.

        Honoured: min_pixels and max_pixels (pictures), size, do_resize (pictures and clips), fps, num_frames,
        min_frames, max_frames, do_sample_frames, cap_pixels_per_frame (clips), padding_side, local_files_only.
        Accepted, since nothing changes: trust_remote_code (no code of a repository is ever run), use_fast=True.
        Errors: CheckpointError for a folder that is no model; ConfigError for an option that is not honoured.
        """
        drop(options, ("trust_remote_code",))
        only(options, "use_fast", True, advice="pictures are resized by torch, as the fast processors do")
        only(options, "revision", "main", advice="give the folder of a revision that you downloaded")
        folder = resolve_model(str(name), offline=bool(options.pop("local_files_only", False)))
        config, tokenizer = read_config(folder), Tokenizer.from_folder(folder)
        images = ImageProcessor.from_folder(folder, config.vision)
        clips = VideoProcessor.from_folder(folder, config.vision)
        for key, value in {key: options.pop(key) for key in list(options) if _can_be_set(key)}.items():
            for processor in (images, clips):
                if value is not None and hasattr(processor, key):
                    setattr(processor, key, value)
        refuse_rest(options, "AutoProcessor.from_pretrained")
        padding = PaddingTokenizer.from_folder(folder, tokenizer, padding_side)
        return cls(config, tokenizer, padding, images, clips, ChatTemplate.from_folder(folder), video_dialect)

    def __call__(
        self,
        images: Any = None,
        text: str | Sequence[str] | None = None,
        videos: Any = None,
        *,
        return_tensors: str | None = None,
        return_mm_token_type_ids: bool = True,
        **options: Any,
    ) -> BatchFeature:
        """Make the model's inputs of prompts with a pad token for each picture and clip.

        Gives input_ids, attention_mask, mm_token_type_ids (0 text, 1 picture, 2 clip), pixel_values, image_grid_thw,
        pixel_values_videos, video_grid_thw; each only if there is something to put in.
        Errors: InputError for media or texts that cannot be used; ConfigError for an option that is not honoured.
        """
        if text is None and images is None and videos is None:
            raise InputError("the processor is given nothing; pass text, images or videos")
        only(options, "audio", advice="this family does not hear")
        by_group = split_options(options)
        if "return_tensors" in by_group["text_kwargs"]:
            return_tensors = by_group["text_kwargs"].pop("return_tensors")
        return_metadata = bool(by_group["videos_kwargs"].get("return_metadata"))
        merged = self.image_processor.merge_size**2
        made: dict[str, Any] = {}
        pictures: list[Placeholder] = []
        clips: list[CutClip] = []
        if images is not None:
            values, grids = self.image_processor.cut(images, by_group["images_kwargs"])
            made |= {"pixel_values": values, "image_grid_thw": torch.tensor(grids)}
            pictures = [Placeholder(t * h * w // merged) for t, h, w in grids]
        if videos is not None:
            clips = self.video_processor.cut(videos, by_group["videos_kwargs"])
            made["pixel_values_videos"] = torch.cat([clip.values for clip in clips])
            made["video_grid_thw"] = torch.tensor([clip.grid for clip in clips])
            if return_metadata:
                made["video_metadata"] = [clip.metadata for clip in clips]
        if text is not None:
            rows = encode_prompts(
                _as_texts(text),
                pictures,
                [Placeholder(clip.grid[1] * clip.grid[2] // merged, clip.timestamps_s) for clip in clips],
                tokenizer=self._raw_tokenizer,
                config=self._config,
                dialect=self.video_dialect,
            )
            made = self._padded(rows, by_group["text_kwargs"], with_types=return_mm_token_type_ids) | made
        return BatchFeature(made, return_tensors)

    def _padded(self, rows: list[list[int]], options: Options, *, with_types: bool) -> dict[str, Any]:
        num_pads = sum(self._type(token) > 0 for row in rows for token in row)
        made: dict[str, Any] = dict(self.tokenizer.pad(rows, options))
        types = [[self._type(token) for token in row] for row in made["input_ids"]]
        if sum(one > 0 for row in types for one in row) != num_pads:
            raise InputError("truncation would cut a picture or clip in two; raise max_length, or leave truncation out")
        return made | ({"mm_token_type_ids": types} if with_types else {})

    def _type(self, token_id: int) -> int:
        return 1 if token_id == self.image_token_id else 2 if token_id == self.video_token_id else 0

    def apply_chat_template(
        self,
        conversation: Any,
        chat_template: str | None = None,
        *,
        tools: Sequence[Mapping[str, Any]] | None = None,
        add_generation_prompt: bool = False,
        tokenize: bool = False,
        return_dict: bool = False,
        return_tensors: str | None = None,
        processor_kwargs: Mapping[str, Any] | None = None,
        **options: Any,
    ) -> Any:
        """Render a conversation, or each of a batch; with `tokenize` look at what its parts name, too.

        Returns text (or a list of texts); with `tokenize` the ids, and with `return_dict` what `__call__` returns.
        Options are variables of the template (add_vision_id) or options of `__call__` (fps, padding).
        Errors: InputError for messages that cannot be rendered; ConfigError for an option that is not honoured.
        """
        only(options, "continue_final_message", False, advice="end with a user's message")
        only(options, "return_assistant_tokens_mask", False, advice="mask the ids yourself")
        only(options, "load_audio_from_video", False, advice="this family does not hear")
        only(options, "sanitize_control_tokens", False, advice="clean the texts before")
        only(options, "documents", advice="write them into a message")
        template = self._template if chat_template is None else ChatTemplate(chat_template, "the chat_template given")
        variables = {name: options.pop(name) for name in list(options) if name in template.variables}
        call = dict(processor_kwargs or {}) | options
        split_options(call)  # refuses what is neither
        if any(callable(tool) for tool in tools or ()):
            raise ConfigError("a tool is a function; give its JSON schema")
        conversations, is_batched = read_conversations(conversation)
        texts = [template.render_dicts(messages, tools, add_generation_prompt, variables) for messages in conversations]
        if not tokenize:
            return texts if is_batched else texts[0]
        media = [named_media(messages) for messages in conversations]
        pictures, clips = [found for found, _ in media], [found for _, found in media]
        if call.get("fps") is not None or call.get("num_frames") is not None:
            call.setdefault("do_sample_frames", True)
        made = self(
            images=pictures if any(pictures) else None,
            text=texts,
            videos=clips if any(clips) else None,
            return_tensors=None if return_tensors == "auto" else return_tensors,
            **call,
        )
        return made if return_dict else made["input_ids"]

    def decode(self, token_ids: Any, *args: Any, **options: Any) -> Any:
        """As `tokenizer.decode`."""
        return self.tokenizer.decode(token_ids, *args, **options)

    def batch_decode(self, sequences: Any, *args: Any, **options: Any) -> list[str]:
        """As `tokenizer.batch_decode`."""
        return self.tokenizer.batch_decode(sequences, *args, **options)

    def post_process_image_text_to_text(self, generated_outputs: Any, skip_special_tokens: bool = True) -> list[str]:
        """The texts of what `generate` returned."""
        return self.tokenizer.batch_decode(generated_outputs, skip_special_tokens)


class AutoProcessor:
    """`AutoProcessor.from_pretrained` is `Qwen3VLProcessor.from_pretrained`: there is one family here."""

    def __init__(self) -> None:
        raise ConfigError("AutoProcessor is not made directly; call AutoProcessor.from_pretrained(name)")

    @classmethod
    def from_pretrained(cls, name: str | Path, **options: Any) -> Qwen3VLProcessor:
        """See `Qwen3VLProcessor.from_pretrained`."""
        return Qwen3VLProcessor.from_pretrained(name, **options)


def split_options(options: Mapping[str, Any]) -> dict[str, Options]:
    """Options for texts, pictures and clips. A flat one goes to each that knows it.

    Errors: ConfigError for an option that none knows.
    """
    by_group: dict[str, Options] = {group: {} for group in _GROUPS}
    common = dict(options.get("common_kwargs") or {})
    for name, value in (common | {key: one for key, one in options.items() if key != "common_kwargs"}).items():
        if name in _GROUPS:
            by_group[name] |= dict(value or {})
            continue
        groups = [group for group, names in _GROUPS.items() if name in names]
        if name == "return_tensors":
            groups = ["text_kwargs"]
        if not groups and value is not None:
            raise ConfigError(f"the processor does not honour {name}={shown(value)}; leave it out (see docs/compat.md)")
        for group in groups:
            by_group[group][name] = value
    return by_group


def _can_be_set(name: str) -> bool:
    return name in ("size", "min_pixels", "max_pixels", "do_resize") or name in VideoProcessor.__slots__


def _as_texts(text: Any) -> list[str]:
    texts = [text] if isinstance(text, str) else text
    if not isinstance(texts, list | tuple) or not all(isinstance(one, str) for one in texts):
        raise InputError(f"text is {shown(text)}; it must be a string or a list of strings")
    return list(texts)
