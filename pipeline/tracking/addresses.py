"""Where the UI shows a trial, for pages that link to it."""

from urllib.parse import urlencode

from . import store
from .views import TRIALS

TAG = "trial.id"  # of the run of a trial
BASE = "http://127.0.0.1:5000"  # where `make ui` starts the UI


def of_trial(placeholder: str) -> str:
    """The address that lists the run of one trial, with `placeholder` where its id belongs.

    It names the trial and not its run, so that it stays right where an update makes the run again.

    Raises:
        TrackingError: the store cannot be used.
    """
    opened = store.connect()
    own = store.is_server(opened.address)
    base = store.readable(opened.address).replace("***@", "").rstrip("/") if own else BASE
    query = {"workflowType": "machine_learning", "compareRunsMode": "TABLE"}
    query["searchFilter"] = f"tags.`{TAG}` = '{placeholder}'"
    return f"{base}/#/experiments/{opened.experiments[TRIALS]}/runs?{urlencode(query)}"
