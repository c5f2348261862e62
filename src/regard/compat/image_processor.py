"""Pictures to patches, as transformers' image processor for this family: `processor.image_processor`.

    processor.image_processor.size = {"shortest_edge": 256 * 32 * 32, "longest_edge": 1280 * 32 * 32}
    processor.image_processor.patch_size

`size` bounds the resized area in pixels; `min_pixels` and `max_pixels` are the same two numbers. The checkpoint decides
the rest, which can be read but not set.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from regard.compat.pixels import check_size, cut, picture_pixels, resize_pixels
from regard.compat.refusal import Options, drop, only, refuse_rest
from regard.model.config import VisionConfig
from regard.processing.image import smart_resize
from regard.processing.media_settings import Normalization, read_image_settings

BICUBIC = 3
NAMES = frozenset(
    {
        *("do_resize", "size", "min_pixels", "max_pixels", "do_rescale", "rescale_factor", "do_normalize"),
        *("do_convert_rgb", "image_mean", "image_std", "resample", "patch_size", "temporal_patch_size"),
        *("merge_size", "device", "data_format", "input_data_format", "disable_grouping", "crop_size"),
        *("do_center_crop", "do_pad", "pad_size", "default_to_square", "image_seq_length"),
    }
)


class VisionSettings:
    """What pictures and clips share: fixed by the checkpoint."""

    __slots__ = ("_normalization", "_size", "_vision", "do_resize")

    def __init__(self, vision: VisionConfig, normalization: Normalization, size: tuple[int, int]) -> None:
        self._vision, self._normalization = vision, normalization
        self._size = {"shortest_edge": size[0], "longest_edge": size[1]}
        self.do_resize = True

    @property
    def size(self) -> dict[str, int]:
        """Bounds in pixels: the area of a picture, or T*H*W of a clip. Its two entries may be set one by one too."""
        return self._size

    @size.setter
    def size(self, size: Any) -> None:
        low, high = check_size(size, self.bounds, type(self).__name__)
        self._size = {"shortest_edge": low, "longest_edge": high}

    @property
    def bounds(self) -> tuple[int, int]:
        """`size` as it holds now. Errors: InputError if what was put into it makes no sense."""
        return check_size(self._size, (1, 1), type(self).__name__)

    @property
    def patch_size(self) -> int:
        """Side of a patch in pixels."""
        return self._vision.patch_size

    @property
    def merge_size(self) -> int:
        """Patches along the side of one visual token."""
        return self._vision.spatial_merge_size

    @property
    def temporal_patch_size(self) -> int:
        """Frames in one patch."""
        return self._vision.temporal_patch_size

    @property
    def image_mean(self) -> list[float]:
        """One number for each colour."""
        return list(self._normalization.mean)

    @property
    def image_std(self) -> list[float]:
        """One number for each colour."""
        return list(self._normalization.std)

    def take_fixed(self, options: Options) -> None:
        """Take out the options that the checkpoint has decided. Errors: ConfigError if they ask for anything else."""
        decided = "the checkpoint decides it; leave it out"
        for name in ("do_rescale", "do_normalize", "do_convert_rgb"):
            only(options, name, True, advice="the model was trained with it")
        only(options, "resample", BICUBIC, advice="pictures are resampled bicubically")
        only(options, "rescale_factor", 1 / 255, advice=decided)
        only(options, "data_format", "channels_first", advice="patches have one layout")
        for name in ("image_mean", "image_std", "patch_size", "temporal_patch_size", "merge_size"):
            only(options, name, getattr(self, name), advice=decided)
        for name in ("do_center_crop", "do_pad"):
            only(options, name, False, advice="crop or pad the picture before")
        drop(options, ("device", "disable_grouping"))  # where and in which order it is computed


class ImageProcessor(VisionSettings):
    """Resizes pictures within `size` and cuts them into patches."""

    __slots__ = ()
    model_input_names = ("pixel_values", "image_grid_thw")

    @classmethod
    def from_folder(cls, folder: Path, vision: VisionConfig) -> ImageProcessor:
        """Read preprocessor_config.json."""
        settings = read_image_settings(folder, vision)
        return cls(vision, settings.normalization, (settings.min_pixels, settings.max_pixels))

    @property
    def min_pixels(self) -> int:
        """`size["shortest_edge"]`."""
        return self._size["shortest_edge"]

    @min_pixels.setter
    def min_pixels(self, value: int) -> None:
        self.size = {"shortest_edge": value}

    @property
    def max_pixels(self) -> int:
        """`size["longest_edge"]`."""
        return self._size["longest_edge"]

    @max_pixels.setter
    def max_pixels(self, value: int) -> None:
        self.size = {"longest_edge": value}

    def cut(self, images: Any, options: Options) -> tuple[Tensor, list[tuple[int, int, int]]]:
        """Patches of all pictures, one after the other, and their grids. Shapes: (P, D) float32.

        Errors: InputError for a picture that cannot be used; ConfigError for an option that is not honoured.
        """
        options = dict(options)
        size = options.pop("size", None)
        low, high = self.bounds if size is None else check_size(size, self.bounds, "pictures")
        asked = {"shortest_edge": options.pop("min_pixels", None), "longest_edge": options.pop("max_pixels", None)}
        low, high = check_size(asked, (low, high), "pictures")
        do_resize = options.pop("do_resize", None)
        do_resize = self.do_resize if do_resize is None else do_resize
        self.take_fixed(options)
        refuse_rest(options, "the image processor")
        cuts = []
        factor = self.patch_size * self.merge_size
        for image in flat(images):
            pixels_CHW = picture_pixels(image)
            if do_resize:
                height, width = pixels_CHW.shape[1:]
                target = smart_resize(height, width, factor=factor, min_pixels=low, max_pixels=high)
                pixels_CHW = resize_pixels(pixels_CHW[None], *target)[0]
            cuts.append(cut(pixels_CHW[None], self._vision, self._normalization))
        return torch.cat([values for values, _ in cuts]), [grid for _, grid in cuts]


def flat(images: Any) -> Iterable[Any]:
    """One picture, a list, or a list for each prompt, as one sequence."""
    if not isinstance(images, list | tuple):
        yield images
        return
    for image in images:
        yield from flat(image)
