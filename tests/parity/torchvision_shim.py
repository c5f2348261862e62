"""Let torchvision be imported beside a CPU build of torch.

torchvision's Python files register fake versions of two compiled operators at import; without its compiled
library these operators do not exist and the import fails. The reference's image and video processors use
neither, so declaring them is enough. Import this module before anything that imports torchvision.
"""

from __future__ import annotations

import torch

for _name in ("nms", "qnms"):
    if not hasattr(torch.ops.torchvision, _name):
        torch.library.define(f"torchvision::{_name}", "(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
