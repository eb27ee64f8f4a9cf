"""The notice of third parties is complete and is what the generator writes."""

import re
import tomllib

import yaml

from docs.third_party import CARRYING, notice
from tests.conftest import REPOSITORY


def test_the_notice_is_up_to_date() -> None:
    assert (REPOSITORY / "NOTICE").read_text("utf-8") == notice(REPOSITORY), "run `make notice`"


def test_every_packaged_model_and_data_set_is_named_with_its_licence() -> None:
    text = (REPOSITORY / "NOTICE").read_text("utf-8")
    listed = yaml.safe_load(
        (REPOSITORY / "pipelines" / "packaged" / "packages.yaml").read_text("utf-8")
    )
    for entry in listed.values():
        place = re.search(
            rf"^{re.escape(entry['name'])}\b.*?(?=\n\n)", text, re.MULTILINE | re.DOTALL
        )
        assert place, f"{entry['name']} is not in NOTICE"
        assert entry["licence"] in place[0]
        assert entry["about"] in place[0]
        assert all(len(digest) == 64 for digest in re.findall(r"sha256: +(\S+)", place[0]))


def test_what_carries_weights_is_required() -> None:
    project = tomllib.loads((REPOSITORY / "pyproject.toml").read_text("utf-8"))["project"]
    required = {re.split(r"[^\w-]", one)[0] for one in project["dependencies"]}
    assert set(CARRYING) <= required
