"""Options that several commands share, each with the one sentence that explains it everywhere.

A command names them as the types of its parameters; defaults stay with the command.
"""

from __future__ import annotations

from typing import Annotated

import typer

ModelOption = Annotated[str, typer.Option(help="nano, a model folder, a hub id, or a server's URL.")]
PresetOption = Annotated[str | None, typer.Option(help="greedy, visual, text, stem, gui or ocr.")]
MaxTokensOption = Annotated[int | None, typer.Option(help="Longest answer, in tokens.")]
TemperatureOption = Annotated[float | None, typer.Option(help="0 is greedy.")]
SeedOption = Annotated[int | None, typer.Option(help="Makes sampling repeatable.")]
DeviceOption = Annotated[str, typer.Option(help="auto, cuda, cuda:N, mps or cpu.")]
DtypeOption = Annotated[str, typer.Option(help="auto, float32, bfloat16 or float16.")]
MaxMemoryOption = Annotated[
    str | None, typer.Option(help="Memory of weights, cache and pictures together, as in 6GiB.")
]
ApiKeyOption = Annotated[str | None, typer.Option(help="For servers; better in REGARD_API_KEY or OPENAI_API_KEY.")]
ServerKindOption = Annotated[str, typer.Option(help="auto, regard, vllm, sglang, dashscope or openai.")]
TimeoutOption = Annotated[float | None, typer.Option(help="Longest wait for a server's answer, in seconds.")]
