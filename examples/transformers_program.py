"""The usual Transformers program of the model card; only the import line is another.

python examples/transformers_program.py
"""

from pathlib import Path

# from transformers import AutoProcessor, Qwen3VLForConditionalGeneration
from regard.compat import AutoProcessor, Qwen3VLForConditionalGeneration

checkpoint = "nano"  # or "Qwen/Qwen3-VL-4B-Instruct"
image = Path(__file__).parent / "settings.png"

# default: Load the model on the available device(s)
model = Qwen3VLForConditionalGeneration.from_pretrained(
    checkpoint, dtype="auto", device_map="auto", attn_implementation="flash_attention_2"
)
processor = AutoProcessor.from_pretrained(checkpoint)

messages = [
    {
        "role": "user",
        "content": [
            {"type": "image", "image": f"file://{image}"},
            {"type": "text", "text": "Where is the Save button?"},
        ],
    }
]

# Preparation for inference
inputs = processor.apply_chat_template(
    messages, tokenize=True, add_generation_prompt=True, return_dict=True, return_tensors="pt"
)
inputs = inputs.to(model.device)

# Inference: Generation of the output
generated_ids = model.generate(**inputs, max_new_tokens=128)
generated_ids_trimmed = [out_ids[len(in_ids) :] for in_ids, out_ids in zip(inputs.input_ids, generated_ids)]
output_text = processor.batch_decode(
    generated_ids_trimmed, skip_special_tokens=True, clean_up_tokenization_spaces=False
)
print(output_text)
