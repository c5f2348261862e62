"""The agent: it looks at a screen, decides, acts and looks again, until a task is done.

    from regard.apps.agent import operate
    result = operate("Unpin the pinned chat", on="browser:chats.html", phone=True, trace="run")

Read in this order: `screen` (what is operated), `agent` (the loop), `decide` (the model), `guard` and `policy` (what
may be done), `trace` (what is left behind).
"""

from regard.apps.agent.agent import Agent as Agent
from regard.apps.agent.agent import Limits as Limits
from regard.apps.agent.browser import BrowserScreen as BrowserScreen
from regard.apps.agent.decide import Mind as Mind
from regard.apps.agent.guard import Guard as Guard
from regard.apps.agent.operate import operate as operate
from regard.apps.agent.policy import Policy as Policy
from regard.apps.agent.records import AgentResult as AgentResult
from regard.apps.agent.records import StepRecord as StepRecord
from regard.apps.agent.replay import replay as replay
from regard.apps.agent.screen import Action as Action
from regard.apps.agent.screen import Capture as Capture
from regard.apps.agent.screen import Screen as Screen
from regard.apps.agent.screen import Target as Target
from regard.apps.agent.secrets import Secrets as Secrets
