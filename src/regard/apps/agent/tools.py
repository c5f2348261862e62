"""The official descriptions of the two tools, word for word, as the checkpoints were trained on them.

Source: cookbooks/mobile_agent.ipynb, computer_use.ipynb and utils/agent_function_call.py of QwenLM/Qwen3-VL at 9658872.
"""

from __future__ import annotations

from typing import Any

_COORDINATE = (
    "(x, y): The x (pixels from the left edge) and y (pixels from the top edge) coordinates to move the mouse to."
)
_STATUS = {
    "description": "The status of the task. Required only by `action=terminate`.",
    "type": "string",
    "enum": ["success", "failure"],
}

MOBILE_USE: dict[str, Any] = {
    "type": "function",
    "function": {
        "name": "mobile_use",
        "description": (
            "Use a touchscreen to interact with a mobile device, and take screenshots.\n"
            "* This is an interface to a mobile device with touchscreen. You can perform actions like clicking, "
            "typing, "
            "swiping, etc.\n"
            "* Some applications may take time to start or process actions, so you may need to wait and take "
            "successive "
            "screenshots to see the results of your actions.\n"
            "* The screen's resolution is 999x999.\n"
            "* Make sure to click any buttons, links, icons, etc with the cursor tip in the center of the element. "
            "Don't click boxes on their edges unless asked."
        ),
        "parameters": {
            "properties": {
                "action": {
                    "description": (
                        "The action to perform. The available actions are:\n"
                        "* `click`: Click the point on the screen with coordinate (x, y).\n"
                        "* `long_press`: Press the point on the screen with coordinate (x, y) for specified seconds.\n"
                        "* `swipe`: Swipe from the starting point with coordinate (x, y) to the end point with "
                        "coordinates2 (x2, y2).\n"
                        "* `type`: Input the specified text into the activated input box.\n"
                        "* `answer`: Output the answer.\n"
                        "* `system_button`: Press the system button.\n"
                        "* `wait`: Wait specified seconds for the change to happen.\n"
                        "* `terminate`: Terminate the current task and report its completion status."
                    ),
                    "enum": [
                        "click", "long_press", "swipe", "type", "answer", "system_button", "wait", "terminate",
                    ],
                    "type": "string",
                },
                "coordinate": {
                    "description": (
                        f"{_COORDINATE} Required only by `action=click`, `action=long_press`, and `action=swipe`."
                    ),
                    "type": "array",
                },
                "coordinate2": {"description": f"{_COORDINATE} Required only by `action=swipe`.", "type": "array"},
                "text": {"description": "Required only by `action=type` and `action=answer`.", "type": "string"},
                "time": {
                    "description": "The seconds to wait. Required only by `action=long_press` and `action=wait`.",
                    "type": "number",
                },
                "button": {
                    "description": (
                        "Back means returning to the previous interface, Home means returning to the desktop, Menu "
                        "means "
                        "opening the application background menu, and Enter means pressing the enter. Required only by "
                        "`action=system_button`"
                    ),
                    "enum": ["Back", "Home", "Menu", "Enter"],
                    "type": "string",
                },
                "status": _STATUS,
            },
            "required": ["action"],
            "type": "object",
        },
    },
}  # fmt: skip

_POINTER = "specified (x, y) pixel coordinate on the screen."
COMPUTER_USE: dict[str, Any] = {
    "type": "function",
    "function": {
        "name": "computer_use",
        "description": (
            "Use a mouse and keyboard to interact with a computer, and take screenshots.\n"
            "* This is an interface to a desktop GUI. You do not have access to a terminal or applications menu. You "
            "must click on desktop icons to start applications.\n"
            "* Some applications may take time to start or process actions, so you may need to wait and take "
            "successive "
            "screenshots to see the results of your actions. E.g. if you click on Firefox and a window doesn't open, "
            "try "
            "wait and taking another screenshot.\n"
            "* The screen's resolution is 1000x1000.\n"
            "* Whenever you intend to move the cursor to click on an element like an icon, you should consult a "
            "screenshot to determine the coordinates of the element before moving the cursor.\n"
            "* If you tried clicking on a program or link but it failed to load, even after waiting, try adjusting "
            "your "
            "cursor position so that the tip of the cursor visually falls on the element that you want to click.\n"
            "* Make sure to click any buttons, links, icons, etc with the cursor tip in the center of the element. "
            "Don't "
            "click boxes on their edges unless asked."
        ),
        "parameters": {
            "properties": {
                "action": {
                    "description": (
                        "The action to perform. The available actions are:\n"
                        "* `key`: Performs key down presses on the arguments passed in order, then performs key "
                        "releases "
                        "in reverse order.\n"
                        "* `type`: Type a string of text on the keyboard.\n"
                        f"* `mouse_move`: Move the cursor to a {_POINTER}\n"
                        f"* `left_click`: Click the left mouse button at a {_POINTER}\n"
                        f"* `left_click_drag`: Click and drag the cursor to a {_POINTER}\n"
                        f"* `right_click`: Click the right mouse button at a {_POINTER}\n"
                        f"* `middle_click`: Click the middle mouse button at a {_POINTER}\n"
                        f"* `double_click`: Double-click the left mouse button at a {_POINTER}\n"
                        f"* `triple_click`: Triple-click the left mouse button at a {_POINTER[:-1]} (simulated as "
                        "double-click since it's the closest action).\n"
                        "* `scroll`: Performs a scroll of the mouse scroll wheel.\n"
                        "* `hscroll`: Performs a horizontal scroll (mapped to regular scroll).\n"
                        "* `wait`: Wait specified seconds for the change to happen.\n"
                        "* `terminate`: Terminate the current task and report its completion status.\n"
                        "* `answer`: Answer a question."
                    ),
                    "enum": [
                        "key", "type", "mouse_move", "left_click", "left_click_drag", "right_click", "middle_click",
                        "double_click", "triple_click", "scroll", "hscroll", "wait", "terminate", "answer",
                    ],
                    "type": "string",
                },
                "keys": {"description": "Required only by `action=key`.", "type": "array"},
                "text": {"description": "Required only by `action=type` and `action=answer`.", "type": "string"},
                "coordinate": {"description": _COORDINATE, "type": "array"},
                "pixels": {
                    "description": (
                        "The amount of scrolling to perform. Positive values scroll up, negative values scroll down. "
                        "Required only by `action=scroll` and `action=hscroll`."
                    ),
                    "type": "number",
                },
                "time": {"description": "The seconds to wait. Required only by `action=wait`.", "type": "number"},
                "status": _STATUS,
            },
            "required": ["action"],
            "type": "object",
        },
    },
}  # fmt: skip
