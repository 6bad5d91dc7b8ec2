"""Nine Ways in the browser: `python app.py`, then http://127.0.0.1:7860

Settings come through the environment: GRADIO_SERVER_NAME and GRADIO_SERVER_PORT (where it listens), NINE_WAYS_OUTPUT
(where images are kept), NINE_WAYS_BACKBONE (which network paints), NINE_WAYS_HISTORY=private (a visit sees only its
own images; so on Spaces).
"""

import os
import sys
import threading
from functools import partial

os.environ.setdefault("GRADIO_ANALYTICS_ENABLED", "False")
if os.environ.get("SPACES_ZERO_GPU") == "true":
    import spaces  # noqa: F401  # before torch, as ZeroGPU wants it

from app.page import build, serve_options
from app.service.state import AppState
from app.terminal import report

state = AppState()
demo = build(state)

if __name__ == "__main__":
    demo.launch(inbrowser="--open" in sys.argv[1:], prevent_thread_lock=True, **serve_options(state))
    say = partial(print, flush=True)
    threading.Thread(target=report, args=(state, demo.local_url, say), daemon=True).start()
    state.start()  # after the page is served: importing torch would hold it up
    demo.block_thread()
