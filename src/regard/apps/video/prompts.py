"""What models are asked about clips: the family's own words where its cookbook has them.

regard-nano learns the same prompts (`train/world/clips.py`).
"""

from __future__ import annotations

EVENTS = (
    "Localize a series of activity events in the video, output the start and end timestamp for each event, and "
    "describe each event with sentences. Provide the result in json format with 'mm:ss.ff' format for time depiction."
)
APPEARS = "What appears at {time} seconds?"
QUERY = "Give the query: '{query}', when does the described content occur in the video?"
BRIEF = "Briefly describe the video."
READ = "Read all the text in the image."
DESCRIBE = "Describe the picture."

TIMELINE = "These events were found in a video that is {length} long:\n{events}\n\n"
SUMMARY = TIMELINE + "Summarize what happens from {start} to {end} in a few sentences. Name times as h:mm:ss."
TITLE = TIMELINE + "Give the part from {start} to {end} a short title. Answer with the title only."
QUESTION = TIMELINE + "Answer the question, and name the times that the answer rests on as h:mm:ss.\n{question}"
