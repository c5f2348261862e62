"""The applications: what people come for, each a Python function with a typed result and a command.

They know a model only through `client.Chat`, and share four files: `reading` (text of a model to values), `asking`
(ask again until it is understood), `result` (what all results have in common) and `pages` (files to pages).
"""
