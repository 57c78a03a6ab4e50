"""One short script a stage of dvc.yaml."""

import gc
import signal

signal.signal(signal.SIGINT, signal.SIG_DFL)  # Ctrl-C while modules load ends a stage without a traceback
gc.disable()  # until they are loaded: they leave no garbage, and looking for it takes a fifth of the time
