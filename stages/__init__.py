"""One short script per stage of dvc.yaml."""

import signal

signal.signal(signal.SIGINT, signal.SIG_DFL)  # until a stage listens to it: its imports take a second
