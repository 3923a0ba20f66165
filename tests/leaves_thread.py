"""A module that leaves a thread behind when it is imported."""

import threading
import time

threading.Thread(target=time.sleep, args=(3600,), daemon=True).start()
