"""Messages as the JSON that chat servers take, pictures, pages and clips included.

Everything that can be is read here and sent as data URLs: the size of each picture is needed to give boxes in the
user's pixels, and a server need not reach what this machine can. A picture goes out as its own bytes when any server
would see in them what we see; else (turned by EXIF, transparent, 16 bits, BMP, TIFF) upright on white as PNG. It is
never made smaller unless min_pixels or max_pixels say so: our server and DashScope are told the bounds, for the
others it is resized here, to the size that the model would choose.

Pages of documents are pictures. Clips:

    regard      the file's bytes, or a list of frames, with every option
    vllm        the file's bytes; fps, num_frames and max_frames for its reader, by default the family's 2 per second
                and 768 at most (its own default is 32 frames of any clip); lists of frames at 2 per second
    sglang      the file's bytes, no options
    dashscope   frames chosen here, with their rate; the URL of a clip as it is
    openai      frames chosen here as pictures, each after its time

The reasoning of earlier turns goes to servers that have a place for it; the family's templates drop it anyway, except
between a call and its result.
"""

from __future__ import annotations

import base64
import io
import json
import mimetypes
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import TYPE_CHECKING, Any

from regard.client.dialects import Dialect
from regard.errors import ConfigError
from regard.messages import Document, Image, Message, Part, Text, Video

if TYPE_CHECKING:
    import PIL.Image

    from regard.processing.video import SampledVideo

MAX_FRAME_PICTURES = 128  # of a clip that is sent as pictures, unless max_frames or num_frames say otherwise
SENT_AS_THEY_ARE = {"PNG": "image/png", "JPEG": "image/jpeg", "WEBP": "image/webp"}
_PLAIN_MODES = ("RGB", "L", "P", "1")
_RATE_OF_FRAME_LISTS = 2.0  # frames per second, as vLLM and we ourselves assume
_SAMPLING_OF_VLLM = {"fps": 2.0, "num_frames": 768}  # the family's, see `processing.frames.VideoSettings`
_JPEG_QUALITY = 95


@dataclass(frozen=True)
class SentMedia:
    """A picture, page or clip of a request: what the user calls it, and its size in pixels, upright (0 for clips)."""

    kind: str
    name: str
    width: int = 0
    height: int = 0
    page: int | None = None


@dataclass(frozen=True)
class Content:
    """The messages of a request, its media in order, and fields that media add to the request."""

    messages: list[dict[str, Any]]
    media: tuple[SentMedia, ...]
    fields: dict[str, Any]

    @property
    def image_sizes(self) -> list[tuple[int, int]]:
        """(width, height) of each picture and page, as boxes count them."""
        return [(sent.width, sent.height) for sent in self.media if sent.kind != "video"]


def write_content(messages: Sequence[Message], dialect: Dialect) -> Content:
    """Read all media and write the messages.

    Errors: InputError for media that cannot be read, ConfigError for an option that the server cannot honour.
    """
    writer = _Writer(dialect)
    return Content([writer.message(message) for message in messages], tuple(writer.media), writer.fields)


class _Writer:
    """Collects the media of one request while its messages are written."""

    def __init__(self, dialect: Dialect) -> None:
        self._dialect = dialect
        self.media: list[SentMedia] = []
        self.fields: dict[str, Any] = {}
        self._num_calls = 0
        self._waiting_calls: list[str] = []  # whose results have not come yet

    def message(self, message: Message) -> dict[str, Any]:
        made: dict[str, Any] = {"role": message.role}
        if all(isinstance(part, Text) for part in message.parts):
            made["content"] = message.text
        else:
            made["content"] = [piece for part in message.parts for piece in self._part(part)]
        if message.reasoning is not None and self._dialect.kind not in ("openai", "dashscope"):
            made["reasoning_content"] = message.reasoning
            if self._dialect.kind == "vllm":  # its newer versions
                made["reasoning"] = message.reasoning
        if message.tool_calls:
            made["tool_calls"] = [self._call(call.name, call.arguments) for call in message.tool_calls]
        if message.role == "tool":  # results follow their calls in order
            made["tool_call_id"] = self._waiting_calls.pop(0) if self._waiting_calls else self._next_id()
        return made

    def _call(self, name: str, arguments: Mapping[str, Any]) -> dict[str, Any]:
        self._waiting_calls.append(self._next_id())
        function = {"name": name, "arguments": json.dumps(arguments, ensure_ascii=False)}
        return {"id": self._waiting_calls[-1], "type": "function", "function": function}

    def _next_id(self) -> str:
        self._num_calls += 1
        return f"call_{self._num_calls}"

    def _part(self, part: Part) -> list[dict[str, Any]]:
        match part:
            case Text():
                return [{"type": "text", "text": part.text}]
            case Image():
                return [self._image(part)]
            case Document():
                return [self._page(part, number, page) for number, page in _pages(part)]
            case Video():
                return self._video(part)

    def _image(self, part: Image) -> dict[str, Any]:
        from regard.processing.fetch import source_name

        url, (width, height) = self._picture(part)
        self.media.append(SentMedia("image", source_name(part.source), width, height))
        return self._image_part(url, part)

    def _page(self, part: Document, number: int, page: PIL.Image.Image) -> dict[str, Any]:
        from regard.processing.fetch import source_name

        picture = Image(page, part.min_pixels, part.max_pixels)
        url, (width, height) = self._picture(picture)
        self.media.append(SentMedia("page", source_name(part.source), width, height, number))
        return self._image_part(url, picture)

    def _image_part(self, url: str, part: Image) -> dict[str, Any]:
        made: dict[str, Any] = {"type": "image_url", "image_url": {"url": url}}
        if self._is_told_pixels:
            made |= {name: value for name in ("min_pixels", "max_pixels") if (value := getattr(part, name)) is not None}
        return made

    @property
    def _is_told_pixels(self) -> bool:
        """Whether the server takes the bounds of each picture."""
        return self._dialect.kind in ("regard", "dashscope")

    def _picture(self, part: Image) -> tuple[str, tuple[int, int]]:
        """The data URL, and (width, height) as the user sees the picture."""
        from regard.processing.image import load_image, open_image

        data, media_type = _own_bytes(part.source)
        size = open_image(data).size if data is not None else None
        bounds = None if self._is_told_pixels or (part.min_pixels is None and part.max_pixels is None) else part
        if size is not None and (bounds is None or _fitting_size(size, bounds) == size):
            return _data_url(media_type, data or b""), size
        picture = load_image(part.source)
        size = picture.size
        if bounds is not None and (target := _fitting_size(size, bounds)) != size:
            picture = _resized(picture, target)
        return _data_url("image/png", _encoded(picture, "PNG")), size

    def _video(self, part: Video) -> list[dict[str, Any]]:
        from regard.processing.fetch import source_name

        is_list = not isinstance(part.source, str | bytes | bytearray | memoryview) and hasattr(part.source, "__len__")
        name = f"the list of {len(part.source)} frames" if is_list else source_name(part.source)
        self.media.append(SentMedia("video", name))
        match self._dialect.kind:
            case "regard":
                return [_video_for_regard(part, is_list)]
            case "vllm":
                return [self._video_for_vllm(part, is_list)]
            case "sglang":
                _refuse_options(part, (), "SGLang")
                if is_list:
                    raise ConfigError("lists of frames cannot be sent to SGLang; give the clip as a file")
                return [{"type": "video_url", "video_url": {"url": _video_url(part.source)}}]
            case "dashscope":
                return [_video_for_dashscope(part)]
            case "openai":
                return _frames_as_pictures(part)

    def _video_for_vllm(self, part: Video, is_list: bool) -> dict[str, Any]:
        if is_list:
            _refuse_options(part, ("sample_fps",), "vLLM with a list of frames")
            if part.sample_fps not in (None, _RATE_OF_FRAME_LISTS):
                raise ConfigError(
                    f"sample_fps is {part.sample_fps}; vLLM takes every list of frames for "
                    f"{_RATE_OF_FRAME_LISTS:g} per second, so give such a list or a file"
                )
            frames = [_encoded(_loaded(frame), "JPEG") for frame in part.source]
            url = "data:video/jpeg;base64," + ",".join(base64.b64encode(frame).decode() for frame in frames)
            return {"type": "video_url", "video_url": {"url": url}}
        _refuse_options(part, ("fps", "num_frames", "max_frames"), "vLLM")
        if part.num_frames is not None:
            sampling = {"fps": part.fps or -1, "num_frames": min(part.num_frames, part.max_frames or part.num_frames)}
        else:
            sampling = dict(_SAMPLING_OF_VLLM)
            sampling |= {} if part.fps is None else {"fps": part.fps}
            sampling |= {} if part.max_frames is None else {"num_frames": part.max_frames}
        wanted = {"video": sampling}
        if self.fields.setdefault("media_io_kwargs", wanted) != wanted:
            raise ConfigError("clips of one request have different options, and vLLM takes one set; make them equal")
        return {"type": "video_url", "video_url": {"url": _video_url(part.source)}}


def _video_for_regard(part: Video, is_list: bool) -> dict[str, Any]:
    options = {name: value for name, value in asdict(replace(part, source=None)).items() if value is not None}
    if is_list:
        return {"type": "video", "video": [_frame_url(frame) for frame in part.source], **options}
    return {"type": "video_url", "video_url": {"url": _video_url(part.source)}, **options}


def _video_for_dashscope(part: Video) -> dict[str, Any]:
    if isinstance(part.source, str) and part.source.startswith(("http://", "https://")):
        _refuse_options(part, ("fps",), "DashScope with the URL of a clip")
        return {"type": "video_url", "video_url": {"url": part.source}} | ({"fps": part.fps} if part.fps else {})
    if part.start is not None:
        raise ConfigError(
            f"start is {part.start}, and DashScope counts the time of a clip from its first frame; "
            "leave it out, or cut the clip first"
        )
    sampled = _sampled(part)
    span_s = sampled.frame_times_s[-1] - sampled.frame_times_s[0]
    fps = (len(sampled.frames) - 1) / span_s if span_s > 0 else _RATE_OF_FRAME_LISTS
    urls = [_data_url("image/jpeg", _encoded(_loaded(frame), "JPEG")) for frame in sampled.frames]
    return {"type": "video", "video": urls, "fps": round(fps, 4)}


def _frames_as_pictures(part: Video) -> list[dict[str, Any]]:
    if part.max_frames is None and part.num_frames is None:
        part = replace(part, max_frames=MAX_FRAME_PICTURES)
    sampled = _sampled(part)
    made: list[dict[str, Any]] = []
    for time_s, frame in zip(sampled.frame_times_s, sampled.frames, strict=True):
        made.append({"type": "text", "text": f"<{time_s:.1f} seconds>"})
        made.append(
            {"type": "image_url", "image_url": {"url": _data_url("image/jpeg", _encoded(_loaded(frame), "JPEG"))}}
        )
    return made


def _refuse_options(part: Video, honoured: Sequence[str], title: str) -> None:
    for name, value in asdict(replace(part, source=None)).items():
        if value is not None and name not in honoured:
            raise ConfigError(f"{name} of a clip cannot be honoured by {title}; leave it out, or cut the clip first")


def _sampled(part: Video) -> SampledVideo:
    from regard.processing.frames import VideoSettings
    from regard.processing.video import load_video

    return load_video(part, settings=VideoSettings(resize_backend="pillow"))


def _pages(part: Document) -> Any:
    from regard.processing.pdf import load_pages

    return load_pages(part)


def _own_bytes(source: Any) -> tuple[bytes | None, str]:
    """A picture file's bytes and media type, if every server sees in them what `load_image` sees."""
    from PIL import ExifTags

    from regard.processing.fetch import read_bytes
    from regard.processing.image import open_image

    if not isinstance(source, str | bytes | bytearray | memoryview) and not hasattr(source, "__fspath__"):
        return None, ""
    data = read_bytes(source)
    picture = open_image(data)
    is_plain = (
        picture.format in SENT_AS_THEY_ARE
        and picture.mode in _PLAIN_MODES
        and not picture.has_transparency_data
        and getattr(picture, "n_frames", 1) == 1
        and picture.getexif().get(ExifTags.Base.Orientation, 1) == 1
    )
    return (data, SENT_AS_THEY_ARE[str(picture.format)]) if is_plain else (None, "")


def _fitting_size(size: tuple[int, int], part: Image) -> tuple[int, int]:
    """(width, height) inside the part's bounds: the size itself, or the one that the model would choose."""
    from regard.processing.image import pixel_bounds, smart_resize
    from regard.processing.media_settings import OFFICIAL_IMAGE_PIXELS

    low, high = pixel_bounds(
        part.min_pixels,
        part.max_pixels,
        default_min=OFFICIAL_IMAGE_PIXELS[0],
        default_max=OFFICIAL_IMAGE_PIXELS[1],
    )
    if low <= size[0] * size[1] <= high:
        return size
    height, width = smart_resize(size[1], size[0], min_pixels=low, max_pixels=high)
    return width, height


def _resized(picture: PIL.Image.Image, size: tuple[int, int]) -> PIL.Image.Image:
    from PIL import Image as PILImage

    return picture.resize(size, PILImage.Resampling.BICUBIC)


def _loaded(source: Any) -> PIL.Image.Image:
    from regard.processing.image import load_image

    return load_image(source)


def _frame_url(source: Any) -> str:
    return _data_url("image/png", _encoded(_loaded(source), "PNG"))


def _video_url(source: Any) -> str:
    """The clip's bytes as a data URL; a web address and a data URL as they are."""
    from regard.processing.fetch import read_bytes

    if isinstance(source, str) and source.startswith(("http://", "https://", "data:")):
        return source
    is_named = isinstance(source, str) or hasattr(source, "__fspath__")
    guessed = mimetypes.guess_type(str(source))[0] if is_named else None
    return _data_url(guessed or "video/mp4", read_bytes(source, "video"))


def _encoded(picture: PIL.Image.Image, kind: str) -> bytes:
    out = io.BytesIO()
    if kind == "JPEG":
        picture.save(out, "JPEG", quality=_JPEG_QUALITY, subsampling=0)
    else:
        picture.save(out, "PNG", compress_level=3)
    return out.getvalue()


def _data_url(media_type: str, data: bytes) -> str:
    return f"data:{media_type};base64,{base64.b64encode(data).decode()}"
