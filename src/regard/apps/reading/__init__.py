"""What a model wrote, as values: forgiving, honest about what it mended, and it never raises on text.

    found = read_items("Here: ```json [{'bbox_2d': [1, 2, 3, 4], 'label': 'cup'")
    found.value     [{"bbox_2d": [1, 2, 3, 4]}] ... and found.repairs says in words what was done to the text

Each reader takes the text of an answer and returns a `Read`. Where nothing is to be found the value is None or empty,
as the reader's own line says. All take time linear in the length of the text.
"""

from regard.apps.reading.choice import read_choice as read_choice
from regard.apps.reading.code import read_code as read_code
from regard.apps.reading.code import read_html as read_html
from regard.apps.reading.events import RawEvent as RawEvent
from regard.apps.reading.events import parse_clock as parse_clock
from regard.apps.reading.events import read_events as read_events
from regard.apps.reading.objects import read_items as read_items
from regard.apps.reading.objects import read_json as read_json
from regard.apps.reading.objects import read_object as read_object
from regard.apps.reading.read import Read as Read
from regard.apps.reading.tool_call import RawCall as RawCall
from regard.apps.reading.tool_call import read_tool_call as read_tool_call
