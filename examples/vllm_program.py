"""The usual vLLM program of the model's README; only the import lines are others.

python examples/vllm_program.py
"""

import os
from pathlib import Path

import torch

# from qwen_vl_utils import process_vision_info
# from transformers import AutoProcessor
# from vllm import LLM, SamplingParams
from regard.compat import LLM, AutoProcessor, SamplingParams, process_vision_info

os.environ["VLLM_WORKER_MULTIPROC_METHOD"] = "spawn"


def prepare_inputs_for_vllm(messages, processor):
    text = processor.apply_chat_template(messages, tokenize=False, add_generation_prompt=True)
    # qwen_vl_utils 0.0.14+ required
    image_inputs, video_inputs, video_kwargs = process_vision_info(
        messages,
        image_patch_size=processor.image_processor.patch_size,
        return_video_kwargs=True,
        return_video_metadata=True,
    )
    print(f"video_kwargs: {video_kwargs}")

    mm_data = {}
    if image_inputs is not None:
        mm_data["image"] = image_inputs
    if video_inputs is not None:
        mm_data["video"] = video_inputs

    return {"prompt": text, "multi_modal_data": mm_data, "mm_processor_kwargs": video_kwargs}


if __name__ == "__main__":
    image = Path(__file__).parent / "settings.png"
    messages = [
        {
            "role": "user",
            "content": [
                {"type": "image", "image": f"file://{image}"},
                {"type": "text", "text": "Where is the Save button?"},
            ],
        }
    ]

    checkpoint_path = "nano"  # or "Qwen/Qwen3-VL-30B-A3B-Instruct-FP8"
    processor = AutoProcessor.from_pretrained(checkpoint_path)
    inputs = [prepare_inputs_for_vllm(message, processor) for message in [messages]]

    llm = LLM(
        model=checkpoint_path,
        mm_encoder_tp_mode="data",
        enable_expert_parallel=True,
        tensor_parallel_size=torch.cuda.device_count(),
        seed=0,
    )

    sampling_params = SamplingParams(
        temperature=0,
        max_tokens=1024,
        top_k=-1,
        stop_token_ids=[],
    )

    for i, input_ in enumerate(inputs):
        print()
        print("=" * 40)
        print(f"Inputs[{i}]: {input_['prompt']=!r}")
    print("\n" + ">" * 40)

    outputs = llm.generate(inputs, sampling_params=sampling_params)
    for i, output in enumerate(outputs):
        generated_text = output.outputs[0].text
        print()
        print("=" * 40)
        print(f"Generated text: {generated_text!r}")
