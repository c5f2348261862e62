"""The model of a Transformers program: `from_pretrained`, `generate`, `.device`, `.config`.

    model = Qwen3VLForConditionalGeneration.from_pretrained("nano", dtype="auto", device_map="auto")
    ids = model.generate(**inputs, max_new_tokens=128)

The rows of a batch, and the answers to each, are generated together by the engine. `generate` returns what transformers
does: the prompts as they were given, then the new tokens, filled up with the pad token.

    device_map   None: the CPU, until `.to(device)`; "auto", "balanced", "sequential": the best device of this machine;
                 a device, or {"": device}. Parts of a model on several devices are refused.
    dtype        (or torch_dtype) a dtype is used as it is; "auto", or nothing: `device.choose_dtype` decides, which on
                 a GPU is the checkpoint's own, and on a CPU float32 where that is faster or costs nothing
    attn_implementation, low_cpu_mem_usage, use_safetensors, trust_remote_code
                 accepted: attention is computed the one way of this machine, which is exact; nothing else is asked

Not honoured, and refused: forward passes for logits or training, quantizing while loading, adapters, past caches.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import torch
from torch import Tensor

from regard.compat.generation import GenerationConfig, Plan, make_plan
from regard.compat.model_inputs import read_batch
from regard.compat.refusal import Options, drop, only, refuse_rest, shown
from regard.compat.stops import StopWatch
from regard.compat.tokenizer import PaddingTokenizer
from regard.engine.loop import Stream
from regard.errors import ConfigError, InputError
from regard.inputs import ModelInputs
from regard.llm import LLM
from regard.model.config import DENSE, MOE
from regard.weights.checkpoint import read_config_json
from regard.weights.hub import resolve_model

ATTENTION = ("eager", "sdpa", "flash_attention_2", "flash_attention_3", "flex_attention", "paged_attention")
PLACES = ("auto", "balanced", "balanced_low_0", "sequential")


class Config:
    """A checkpoint's config.json as attributes, parts included; it cannot be changed."""

    def __init__(self, values: Mapping[str, Any]) -> None:
        for name, value in values.items():
            self.__dict__[name] = Config(value) if isinstance(value, Mapping) else value

    def __setattr__(self, name: str, value: Any) -> None:
        raise ConfigError(f"config.{name} cannot be set on a loaded model; change config.json and load it again")

    def to_dict(self) -> dict[str, Any]:
        """The values as plain dictionaries."""
        return {name: value.to_dict() if isinstance(value, Config) else value for name, value in vars(self).items()}


@dataclass(frozen=True)
class GenerateOutput:
    """What `generate(return_dict_in_generate=True)` returns. Shapes: sequences (rows, tokens)."""

    sequences: Tensor


class Qwen3VLForConditionalGeneration:
    """A dense checkpoint that generates."""

    architectures: ClassVar[tuple[str, ...]] = (DENSE,)

    def __init__(self, llm: LLM, folder: Path, *, device: str, dtype: str) -> None:
        self._llm, self._folder = llm, folder
        self._asked = (device, dtype)
        self.name_or_path = llm.name
        self.config = Config(read_config_json(folder))
        self.generation_config = GenerationConfig.from_folder(folder)
        tokenizer = PaddingTokenizer.from_folder(folder, llm.processor.tokenizer)
        self._pad_token_id = tokenizer.pad_token_id

    @classmethod
    def from_pretrained(cls, name: str | Path, **options: Any) -> Any:
        """Load "nano", a folder or a hub id; the options are described above.

        Errors: CheckpointError for a folder that cannot be loaded; ConfigError for an option that is not honoured.
        """
        dtype = _dtype_name(options.pop("torch_dtype", None), options.pop("dtype", None))
        device = _device_name(options.pop("device_map", None))
        only(options, "attn_implementation", *ATTENTION, advice=f"it must be one of {', '.join(ATTENTION)}")
        only(options, "revision", "main", advice="give the folder of a revision that you downloaded")
        only(options, "use_safetensors", True, advice="pickles are not loaded, since they can run code")
        drop(options, ("trust_remote_code", "low_cpu_mem_usage"))
        is_offline = bool(options.pop("local_files_only", False))
        refuse_rest(options, f"{cls.__name__}.from_pretrained")
        folder = resolve_model(str(name), offline=is_offline)
        kind = str(read_config_json(folder).get("model_type", "")).removeprefix("regard_")
        if kind not in cls.architectures:
            fitting = next(
                (one.__name__ for one in (_Dense, _Moe) if kind in one.architectures), "no class of this module"
            )
            raise ConfigError(f"{name} is of the type {kind!r}, which {cls.__name__} does not load; use {fitting}")
        llm = LLM.load(str(folder), device=device, dtype=dtype)
        llm.name = str(name)
        return cls(llm, folder, device=device, dtype=dtype)

    @property
    def device(self) -> torch.device:
        """Where the weights are."""
        return self._llm.model.device

    @property
    def dtype(self) -> torch.dtype:
        """What is computed with."""
        return self._llm.model.dtype

    def to(self, *places: Any, device: Any = None, dtype: torch.dtype | None = None) -> Any:
        """Go to another device or dtype, in place: the checkpoint is loaded again there if anything changes."""
        for place in places:
            if isinstance(place, torch.dtype):
                dtype = place
            else:
                device = place
        old_device, old_dtype = self._asked
        new_device = old_device if device is None else _device_name(device)
        new_dtype = old_dtype if dtype is None else _dtype_name(None, dtype)
        is_here = torch.device(self.device if new_device == "auto" else new_device) == self.device
        if is_here and new_dtype in (old_dtype, str(self.dtype).removeprefix("torch.")):
            return self
        self._llm.engine.close()
        self._llm = LLM.load(str(self._folder), device=new_device, dtype=new_dtype)
        self._llm.name, self._asked = self.name_or_path, (new_device, new_dtype)
        return self

    def cuda(self, device: int | None = None) -> Any:
        """As `to("cuda")`."""
        return self.to("cuda" if device is None else f"cuda:{device}")

    def cpu(self) -> Any:
        """As `to("cpu")`."""
        return self.to("cpu")

    def eval(self) -> Any:
        """The model itself: it is never in training."""
        return self

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """Refused: there is `generate`."""
        raise ConfigError("a forward pass is not offered here; call generate, or use regard.model for logits")

    def generate(
        self,
        inputs: Any = None,
        generation_config: Any = None,
        *,
        streamer: Any = None,
        **options: Any,
    ) -> Any:
        """Answer each row of a batch that a processor made. Shapes: returns (rows * num_return_sequences, tokens).

        The options are those of `compat/generation.py`. `stop_strings` needs no `tokenizer` beside it.
        Errors: InputError for tensors that do not belong together, ConfigError for an option that is not honoured,
        CapacityError for a prompt that does not fit.
        """
        try:
            return self._generate(inputs, generation_config, streamer, options)
        finally:
            if streamer is not None:
                streamer.end()  # also when something fails: whoever listens must not wait for ever

    def _generate(self, inputs: Any, generation_config: Any, streamer: Any, options: Options) -> Any:
        tensors = {"input_ids": inputs} if inputs is not None else {}
        tensors |= {name: options.pop(name) for name in list(options) if name in _TENSORS}
        given = tensors.get("input_ids")
        prompts = read_batch(tensors, self._llm.model.config)
        ids_BT = torch.as_tensor(given)
        ids_BT = ids_BT[None] if ids_BT.ndim == 1 else ids_BT
        plan = make_plan(
            options,
            generation_config,
            self.generation_config,
            num_prompt_tokens=ids_BT.shape[1],
            num_prompts=len(prompts),
            eos_token_ids=self._llm.processor.tokenizer.eos_token_ids,
            pad_token_id=self._pad_token_id,
        )
        if streamer is not None and len(prompts) * plan.params.n > 1:
            raise InputError(f"a streamer takes one answer, and {len(prompts) * plan.params.n} are asked for; drop it")
        answers = self._answers(prompts, plan, streamer, ids_BT)
        sequences = _joined(ids_BT, answers, plan)
        return GenerateOutput(sequences) if plan.returns_dict else sequences

    def _answers(self, prompts: list[ModelInputs], plan: Plan, streamer: Any, ids_BT: Tensor) -> list[list[int]]:
        """The new ids of each answer, end token included; the answers to one prompt follow each other."""
        deadline_s = None if plan.max_time_s is None else time.monotonic() + plan.max_time_s
        streams: list[tuple[Stream, StopWatch]] = []
        try:
            if streamer is not None:
                streamer.put(ids_BT.cpu())
            for prompt, seed in zip(prompts, plan.seeds, strict=True):
                params = plan.with_seed(seed)
                made = self._llm.submit(prompt, params)
                streams += [(stream, self._watch(prompt, plan)) for stream in made]
            return [_drain(stream, watch, streamer, deadline_s) for stream, watch in streams]
        finally:
            for stream, _ in streams:
                stream.close()  # those that are over already do not mind

    def _watch(self, prompt: ModelInputs, plan: Plan) -> StopWatch:
        """As there, a stop string may begin in the prompt, and special tokens count as they are written."""
        tokenizer = self._llm.processor.tokenizer
        longest = max(map(len, plan.stops), default=0)
        # A character is at most four tokens, a byte each.
        before = tokenizer.decode(prompt.input_ids[-4 * longest :].tolist(), skip_special=False) if longest else ""
        return StopWatch(tokenizer, plan.stops, skip_special=False, before=before)


class Qwen3VLMoeForConditionalGeneration(Qwen3VLForConditionalGeneration):
    """A checkpoint with experts that generates."""

    architectures = (MOE,)


class AutoModelForImageTextToText(Qwen3VLForConditionalGeneration):
    """Either: `from_pretrained` returns the class that fits the checkpoint."""

    architectures = (DENSE, MOE)

    @classmethod
    def from_pretrained(cls, name: str | Path, **options: Any) -> Any:
        """See `Qwen3VLForConditionalGeneration.from_pretrained`."""
        folder = resolve_model(str(name), offline=bool(options.get("local_files_only", False)))
        kind = str(read_config_json(folder).get("model_type", "")).removeprefix("regard_")
        return (_Moe if kind in _Moe.architectures else _Dense).from_pretrained(name, **options)


_Dense, _Moe = Qwen3VLForConditionalGeneration, Qwen3VLMoeForConditionalGeneration
_TENSORS = frozenset(
    {
        *("input_ids", "attention_mask", "mm_token_type_ids", "pixel_values", "image_grid_thw"),
        *("pixel_values_videos", "video_grid_thw"),
    }
)


def _drain(stream: Stream, watch: StopWatch, streamer: Any, deadline_s: float | None) -> list[int]:
    """All ids of one answer, up to the one that completes a stop string."""
    token_ids: list[int] = []
    for output in stream:
        for sampled in output.sampled:
            token_ids.append(sampled.token_id)
            if streamer is not None:
                streamer.put(torch.tensor([sampled.token_id]))
            if watch.push(sampled.token_id) is not None:
                stream.close()
                return token_ids
        if deadline_s is not None and time.monotonic() > deadline_s:
            stream.close()
            return token_ids
    return token_ids


def _joined(ids_BT: Tensor, answers: list[list[int]], plan: Plan) -> Tensor:
    """Prompts and answers in one tensor, on the device of the prompts."""
    longest = max(map(len, answers))
    filled = [answer + [plan.pad_token_id] * (longest - len(answer)) for answer in answers]
    new = torch.tensor(filled, dtype=ids_BT.dtype, device=ids_BT.device)
    return torch.cat([ids_BT.repeat_interleave(plan.params.n, dim=0), new], dim=1)


def _device_name(device: Any) -> str:
    if isinstance(device, Mapping):
        places = {_device_name(place) for place in device.values()}
        if len(places) != 1:
            raise ConfigError(f"device_map is {shown(device)}; a model is kept on one device, so give one, or 'auto'")
        return places.pop()
    if device is None:
        return "cpu"
    if device in PLACES:
        return "auto"
    return f"cuda:{device}" if isinstance(device, int) else str(device)


def _dtype_name(*given: Any) -> str:
    """The first that was given, as a name; "auto" if none was."""
    dtype = next((one for one in given if one is not None), "auto")
    return str(dtype).removeprefix("torch.")
