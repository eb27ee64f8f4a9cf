"""Whether a service answers: `python -m pipelines.services.cluster_health URL [COMPONENT]`; the status is 0 or 1.

COMPONENT: a part of Airflow, as `/api/v2/monitor/health` names it. It takes part in no import of ours, so that asking
every few seconds costs next to nothing. Of https it asks whether it is talked; whom to trust is told by the cluster's
setup (`cluster_trust`), in words, where an unhealthy service would just be waited for.
"""

import json
import ssl
import sys
import urllib.request

SECONDS = 5.0


def healthy(url: str, component: str = "") -> bool:
    """Whether `url` answers with success and, where asked, says that `component` is healthy. No proxy is asked."""
    context = ssl.create_default_context()
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    opener = urllib.request.build_opener(
        urllib.request.ProxyHandler({}), urllib.request.HTTPSHandler(context=context)
    )
    try:
        with opener.open(url, timeout=SECONDS) as answer:
            text = answer.read()
        return not component or json.loads(text)[component]["status"] == "healthy"
    except (OSError, ValueError, KeyError, TypeError):
        return False


if __name__ == "__main__":
    sys.exit(0 if healthy(*sys.argv[1:3]) else 1)
