"""Long clips: questions, summaries, searches, chapters and texts with times that were looked at twice."""

from regard.apps.video.export import to_srt as to_srt
from regard.apps.video.export import to_vtt as to_vtt
from regard.apps.video.result import Chapter as Chapter
from regard.apps.video.result import ScreenText as ScreenText
from regard.apps.video.result import VideoEvent as VideoEvent
from regard.apps.video.result import VideoReport as VideoReport
from regard.apps.video.sheet import sheet as sheet
from regard.apps.video.watch import Watch as Watch
