"""One short script a stage of dvc.yaml."""

import signal

signal.signal(signal.SIGINT, signal.SIG_DFL)  # Ctrl-C while modules load ends a stage without a traceback
