"""vLLM's `LLM` over our engine: `generate` for prompts with media, `chat` for OpenAI messages.

    llm = LLM(model="nano", max_model_len=4096, limit_mm_per_prompt={"image": 2}, seed=0)
    outputs = llm.generate([{"prompt": text, "multi_modal_data": {"image": images}, "mm_processor_kwargs": kwargs}],
                           SamplingParams(temperature=0, max_tokens=128))
    outputs[0].outputs[0].text

`generate` passes pictures and clips through the same processor as a Transformers program (`compat/processor.py`), with
`do_sample_frames=False` for clips unless asked otherwise; a clip is (frames, metadata), since without metadata nobody
knows its times. `chat` reads messages as our own `LLM` does; a clip is sampled as the checkpoint says (2 frames per
second), where vLLM takes 32 frames of any clip. As there, `chat` opens local files only below
`allowed_local_media_path`.

Honoured: model, dtype, seed, max_model_len, gpu_memory_utilization (here of what is free), limit_mm_per_prompt,
max_num_seqs, max_num_batched_tokens, block_size, enable_prefix_caching, mm_processor_kwargs, generation_config,
allowed_local_media_path, quantization (that of the checkpoint), device; and `video_dialect`, which is ours.
One process and one device: parallel sizes above 1 are refused. What only says how vLLM computes is accepted and
changes nothing (`WITHOUT_EFFECT`).
"""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch

from regard.compat.media_rules import check_local_files, check_media_counts, media_counts, with_options
from regard.compat.model_inputs import read_batch
from regard.compat.processor import Qwen3VLProcessor
from regard.compat.refusal import Options, drop, only, refuse_rest, shown
from regard.compat.vllm_outputs import RequestOutput, read_answer
from regard.compat.vllm_params import SamplingParams
from regard.conversation import normalize
from regard.engine.engine import EngineConfig
from regard.engine.loop import Stream
from regard.errors import CapacityError, ConfigError, InputError
from regard.inputs import ModelInputs
from regard.llm import LLM as Regard
from regard.processing.processor import VideoDialect
from regard.weights.hub import resolve_model

DTYPES = {"half": "float16", "float": "float32"}
WITHOUT_EFFECT = frozenset(
    {
        *("trust_remote_code", "swap_space", "disable_log_stats", "disable_custom_all_reduce"),
        *("mm_encoder_tp_mode", "enable_expert_parallel", "async_scheduling", "compilation_config"),
        *("max_seq_len_to_capture", "enable_chunked_prefill", "distributed_executor_backend"),
        *("served_model_name", "mm_processor_cache_gb", "disable_mm_preprocessor_cache"),
        *("mm_processor_cache_type", "use_tqdm_on_load", "attention_backend"),
    }
)
PARALLEL = ("tensor_parallel_size", "pipeline_parallel_size", "data_parallel_size", "decode_context_parallel_size")
CHAT_OPTIONS = ("min_pixels", "max_pixels", "fps", "num_frames")

Prompt = str | Mapping[str, Any]


class LLM:
    """A loaded checkpoint that answers batches."""

    def __init__(
        self,
        model: str | Path,
        *,
        dtype: str | torch.dtype = "auto",
        seed: int | None = 0,
        max_model_len: int | None = None,
        gpu_memory_utilization: float = 0.9,
        limit_mm_per_prompt: Mapping[str, Any] | None = None,
        mm_processor_kwargs: Mapping[str, Any] | None = None,
        generation_config: str = "auto",
        allowed_local_media_path: str = "",
        device: str = "auto",
        video_dialect: VideoDialect = "transformers",
        **options: Any,
    ) -> None:
        """Load "nano", a folder or a hub id. Errors: CheckpointError, ConfigError, CapacityError in one sentence."""
        engine = _engine_config(gpu_memory_utilization, options)
        _check_parallel(options)
        drop(options, WITHOUT_EFFECT)
        only(options, "tokenizer", str(model), advice="the checkpoint brings its own")
        quantization = options.pop("quantization", None)
        refuse_rest(options, "LLM")
        if generation_config not in ("auto", "vllm"):
            raise ConfigError(f"generation_config is {generation_config!r}; it must be 'auto' or 'vllm'")
        name = str(dtype).removeprefix("torch.")
        folder = resolve_model(str(model))
        self._processor = Qwen3VLProcessor.from_pretrained(folder, video_dialect=video_dialect)
        self._llm = Regard.load(
            str(folder), device=device, dtype=DTYPES.get(name, name), video_dialect=video_dialect, engine=engine
        )
        self._llm.name = str(model)
        own = self._llm.model.config.quantization
        if quantization is not None and (own is None or quantization != own.method):
            raise ConfigError(
                f"quantization is {quantization!r} and {model} is {own.method if own else 'not quantised'}; give a "
                "checkpoint that is, or make one with `regard quantize`"
            )
        context = self._llm.model.config.text.max_position_embeddings
        if max_model_len is not None and not 1 < max_model_len <= context:
            raise ConfigError(f"max_model_len is {max_model_len}; it must be from 2 to the model's context, {context}")
        self._max_model_len = max_model_len or context
        self._limits = {kind: _count(limit) for kind, limit in (limit_mm_per_prompt or {}).items()}
        if unknown := set(self._limits) - {"image", "video"}:
            raise ConfigError(f"limit_mm_per_prompt names {sorted(unknown)[0]!r}; it may name 'image' and 'video'")
        self._mm_processor_kwargs = dict(mm_processor_kwargs or {})
        self._uses_generation_config = generation_config == "auto"
        self._local_folder = Path(allowed_local_media_path).resolve() if allowed_local_media_path else None
        self._numbers = itertools.count()
        self._seeds = torch.Generator()
        if seed is None:
            self._seeds.seed()
        else:
            self._seeds.manual_seed(seed)

    def get_tokenizer(self) -> Any:
        """The tokenizer, as `AutoProcessor(...).tokenizer`."""
        return self._processor.tokenizer

    def get_default_sampling_params(self) -> SamplingParams:
        """What is used where no parameters are given: the checkpoint's generation_config.json, or vLLM's defaults."""
        names = ("repetition_penalty", "temperature", "top_k", "top_p", "min_p")
        read = self._llm.processor.generation_config if self._uses_generation_config else {}
        values = {name: read[name] for name in names if read.get(name) is not None}
        if read.get("max_new_tokens") is not None:
            values["max_tokens"] = read["max_new_tokens"]
        return SamplingParams(**values)

    def generate(
        self,
        prompts: Prompt | Sequence[Prompt],
        sampling_params: SamplingParams | Sequence[SamplingParams] | None = None,
        *,
        use_tqdm: Any = True,
        **options: Any,
    ) -> list[RequestOutput]:
        """Answer prompts, in their order: strings, or dictionaries with prompt or prompt_token_ids, and with
        multi_modal_data and mm_processor_kwargs.

        `use_tqdm` is accepted; no bar is drawn.
        Errors: InputError for prompts or media that cannot be used; CapacityError for what does not fit.
        """
        refuse_rest(options, "generate")
        given = [prompts] if isinstance(prompts, str | Mapping) else list(prompts)
        made = (
            (self._read_prompt(prompt), prompt if isinstance(prompt, str) else prompt.get("prompt")) for prompt in given
        )
        return self._answer(made, self._params(sampling_params, len(given)))

    def chat(
        self,
        messages: Sequence[Any],
        sampling_params: SamplingParams | Sequence[SamplingParams] | None = None,
        use_tqdm: Any = True,
        *,
        tools: Sequence[Mapping[str, Any]] | None = None,
        add_generation_prompt: bool = True,
        mm_processor_kwargs: Mapping[str, Any] | None = None,
        **options: Any,
    ) -> list[RequestOutput]:
        """Answer a conversation of OpenAI messages, or each of several.

        mm_processor_kwargs: min_pixels and max_pixels of pictures, fps or num_frames of clips.
        Errors: as `generate`.
        """
        only(options, "chat_template_content_format", "auto", "openai", advice="the template decides")
        only(options, "continue_final_message", False, advice="end with a user's message")
        only(options, "chat_template_kwargs", {}, advice="leave it out")
        refuse_rest(options, "chat")
        conversations = [messages] if messages and isinstance(messages[0], Mapping) else messages
        asked = self._mm_processor_kwargs | dict(mm_processor_kwargs or {})
        only(asked, "do_sample_frames", True, advice="clips of a chat are sampled here")
        if unknown := set(asked) - set(CHAT_OPTIONS):
            raise ConfigError(f"mm_processor_kwargs of a chat has {sorted(unknown)[0]!r}; it may have {CHAT_OPTIONS}")

        def read(conversation: Any) -> tuple[ModelInputs, str]:
            turns = with_options(normalize(_renamed(conversation)), asked)
            check_local_files(turns, self._local_folder)
            check_media_counts(media_counts(turns), self._limits)
            inputs = self._llm.processor(turns, tools=tools, add_generation_prompt=add_generation_prompt)
            return inputs, inputs.prompt

        return self._answer(map(read, conversations), self._params(sampling_params, len(conversations)))

    def _answer(self, prompts: Any, params: Sequence[SamplingParams]) -> list[RequestOutput]:
        """Submit prompts as soon as each is read, then take the answers."""
        tokenizer = self._llm.processor.tokenizer
        running: list[tuple[ModelInputs, str | None, SamplingParams, list[Stream]]] = []
        try:
            for (inputs, text), own in zip(prompts, params, strict=True):
                room = self._max_model_len - len(inputs.input_ids)
                if room < 1:
                    raise CapacityError(
                        f"a prompt has {len(inputs.input_ids)} tokens and max_model_len is {self._max_model_len}; give "
                        "smaller pictures or less text, or raise max_model_len"
                    )
                seed = int(torch.randint(2**62, (), generator=self._seeds))
                engine_params = own.for_engine(min(own.max_tokens or room, room), seed)
                running.append((inputs, text, own, self._llm.submit(inputs, engine_params)))
            return [
                RequestOutput(
                    request_id=str(next(self._numbers)),
                    prompt=text,
                    prompt_token_ids=inputs.input_ids.tolist(),
                    outputs=[
                        read_answer(stream, index, own, tokenizer, tokenizer.eos_token_ids)
                        for index, stream in enumerate(streams)
                    ],
                )
                for inputs, text, own, streams in running
            ]
        finally:
            for *_, streams in running:
                for stream in streams:
                    stream.close()  # those that are over already do not mind

    def _params(self, given: Any, num_prompts: int) -> list[SamplingParams]:
        params = self.get_default_sampling_params() if given is None else given
        made = list(params) if isinstance(params, list | tuple) else [params] * num_prompts
        if len(made) != num_prompts:
            raise InputError(
                f"there are {len(made)} sampling_params for {num_prompts} prompts; give one, or one for each"
            )
        if wrong := next((one for one in made if not isinstance(one, SamplingParams)), None):
            raise InputError(f"sampling_params is {shown(wrong)}; use regard.compat.SamplingParams")
        return made

    def _read_prompt(self, prompt: Prompt) -> ModelInputs:
        fields: Options = {"prompt": prompt} if isinstance(prompt, str) else dict(prompt)
        text, token_ids = fields.pop("prompt", None), fields.pop("prompt_token_ids", None)
        media = {kind: one for kind, one in dict(fields.pop("multi_modal_data", None) or {}).items() if one is not None}
        asked = self._mm_processor_kwargs | dict(fields.pop("mm_processor_kwargs", None) or {})
        drop(fields, ("multi_modal_uuids", "cache_salt"))  # what is equal is found by its pixels
        refuse_rest(fields, "a prompt")
        if unknown := set(media) - {"image", "video"}:
            raise InputError(f"multi_modal_data has {sorted(unknown)[0]!r}; this model takes 'image' and 'video'")
        if text is None:
            if token_ids is None or media:
                raise InputError("a prompt has no text; give 'prompt', or without media 'prompt_token_ids'")
            return self._read_ids(token_ids)
        images = _as_list(media["image"]) if "image" in media else []
        clips = [_clip(one) for one in _as_clips(media["video"])] if "video" in media else []
        check_media_counts({"image": len(images), "video": len(clips)}, self._limits)
        if clips:
            # As vLLM: frames that are handed over are sampled already, unless somebody says that they are not.
            metadata = [dict(known) for _, known in clips]
            said = [known.pop("do_sample_frames", False) for known in metadata]
            asked = {"do_sample_frames": any(said)} | asked | {"video_metadata": metadata}
        else:
            asked = {name: one for name, one in asked.items() if name not in ("do_sample_frames", "fps", "num_frames")}
        features = self._processor(
            images=images or None,
            text=text,
            videos=[frames for frames, _ in clips] or None,
            return_tensors="pt",
            **asked,
        )
        return read_batch(dict(features), self._llm.model.config)[0]

    def _read_ids(self, token_ids: Sequence[int]) -> ModelInputs:
        return read_batch({"input_ids": torch.tensor([list(token_ids)])}, self._llm.model.config)[0]


def _engine_config(memory_utilization: float, options: Options) -> EngineConfig:
    plain = EngineConfig()
    return EngineConfig(
        block_size=options.pop("block_size", None) or plain.block_size,
        max_tokens_per_step=options.pop("max_num_batched_tokens", None) or plain.max_tokens_per_step,
        max_running=options.pop("max_num_seqs", None) or plain.max_running,
        memory_utilization=memory_utilization,
        use_prefix_cache=options.pop("enable_prefix_caching", None) in (None, True),
        use_graphs=not options.pop("enforce_eager", None),
        cache_dtype="fp8" if options.get("kv_cache_dtype") in ("fp8", "fp8_e4m3") else "auto",
    )


def _check_parallel(options: Options) -> None:
    for name in PARALLEL:
        # 0 is what torch.cuda.device_count() says where there is no GPU.
        only(options, name, 0, 1, advice="the model is kept on one device; use 1, or CUDA_VISIBLE_DEVICES to choose it")
    only(options, "kv_cache_dtype", "auto", "fp8", "fp8_e4m3", advice="keys and values have the model's dtype or FP8")
    only(options, "cpu_offload_gb", 0, 0.0, advice="weights stay where they are computed with")
    only(options, "load_format", "auto", "safetensors", advice="pickles are not loaded, since they can run code")
    only(options, "tokenizer_mode", "auto", advice="the checkpoint brings its own")
    only(options, "skip_tokenizer_init", False, advice="texts need the tokenizer")
    only(options, "task", "auto", "generate", advice="the model generates")
    only(options, "runner", "auto", "generate", advice="the model generates")
    only(options, "logprobs_mode", "raw_logprobs", advice="log probabilities are the model's own")
    only(options, "revision", "main", advice="give the folder of a revision that you downloaded")


def _count(limit: Any) -> int:
    count = limit.get("count") if isinstance(limit, Mapping) else limit
    if not isinstance(count, int) or count < 0:
        raise ConfigError(f"limit_mm_per_prompt has {shown(limit)}; it must be a number of pictures or clips")
    return count


def _as_list(media: Any) -> list[Any]:
    return list(media) if isinstance(media, list | tuple) else [media]


def _as_clips(media: Any) -> list[Any]:
    """One clip is (frames, metadata); several are a list of them."""
    is_one = isinstance(media, tuple) and len(media) == 2 and isinstance(media[1], Mapping)
    return [media] if is_one or not isinstance(media, list | tuple) else list(media)


def _clip(media: Any) -> tuple[Any, Mapping[str, Any]]:
    if isinstance(media, list | tuple) and len(media) == 2 and isinstance(media[1], Mapping):
        return media[0], media[1]
    raise InputError(
        f"a clip is {shown(type(media))} without metadata, and the model is told its times; give (frames, metadata) "
        "as process_vision_info(..., return_video_metadata=True) returns"
    )


def _renamed(conversation: Any) -> Any:
    """vLLM's own part for a PIL picture, under the name that everyone uses."""

    def part(value: Any) -> Any:
        if isinstance(value, Mapping) and "image_pil" in value:
            return {"type": "image", "image": value["image_pil"]}
        return value

    return [
        {**turn, "content": [part(one) for one in turn["content"]]} if isinstance(turn.get("content"), list) else turn
        for turn in conversation
    ]
