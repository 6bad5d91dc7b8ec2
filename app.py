"""Nine Ways in the browser: `python app.py`, then http://127.0.0.1:7860

Settings come through the environment: GRADIO_SERVER_NAME and GRADIO_SERVER_PORT (where it listens), NINE_WAYS_OUTPUT
(where images are kept), NINE_WAYS_BACKBONE (which network paints), NINE_WAYS_HISTORY=private (a visit sees only its
own images; so on Spaces).
"""

import argparse
import os
import threading
from functools import partial

if __name__ == "__main__":  # before anything is imported that takes seconds
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--open", action="store_true", help="open the page in the browser")
    arguments = parser.parse_args()

os.environ.setdefault("GRADIO_ANALYTICS_ENABLED", "False")
if os.environ.get("SPACES_ZERO_GPU") == "true":
    import spaces  # noqa: F401  # before torch, as ZeroGPU wants it

from app.page import build, serve_options
from app.service.state import AppState
from app.terminal import report

state = AppState()
demo = build(state)

if __name__ == "__main__":
    demo.launch(inbrowser=arguments.open, prevent_thread_lock=True, **serve_options(state))
    say = partial(print, flush=True)
    threading.Thread(target=report, args=(state, demo.local_url, say), daemon=True).start()
    state.start()  # after the page is served: importing torch would hold it up
    demo.block_thread()
