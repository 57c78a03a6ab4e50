"""One short script per stage of dvc.yaml."""

import signal

from pipeline.core import ending

signal.signal(signal.SIGINT, signal.SIG_DFL)  # until a stage listens to it: its imports take a second
ending.follow_dvc()
