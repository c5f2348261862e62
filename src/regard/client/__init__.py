"""One way to talk to a model, wherever it runs: loaded here, or behind a URL.

    chat = connect("nano")                                        # or a folder, or a hub id
    chat = connect("http://localhost:8000/v1")                    # regard serve, vLLM, SGLang, DashScope, OpenAI, ...
    reply = chat.chat(["shot.png", "Where is the Save button?"])

Importing this imports neither torch nor the HTTP library; `connect` does, and only the one that it needs.
"""

from regard.client.chat import Chat as Chat
from regard.client.chat import LocalChat as LocalChat
from regard.client.connect import connect as connect
from regard.client.connect import is_url as is_url
from regard.client.connect import load as load
from regard.client.http_chat import HttpChat as HttpChat
