"""Whether a service answers: `python -m pipelines.services.cluster_health URL [COMPONENT]`; the status is 0 or 1.

COMPONENT: a part of Airflow, as `/api/v2/monitor/health` names it. It takes part in no import of ours, so that asking
every few seconds costs next to nothing.
"""

import json
import sys
import urllib.request

SECONDS = 5.0


def healthy(url: str, component: str = "") -> bool:
    """Whether `url` answers with success and, where asked, says that `component` is healthy. No proxy is asked."""
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    try:
        with opener.open(url, timeout=SECONDS) as answer:
            text = answer.read()
        return not component or json.loads(text)[component]["status"] == "healthy"
    except (OSError, ValueError, KeyError, TypeError):
        return False


if __name__ == "__main__":
    sys.exit(0 if healthy(*sys.argv[1:3]) else 1)
