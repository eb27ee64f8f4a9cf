"""Parameters of what trains networks."""

from pydantic import field_validator

from models.training.settings import ONE, Devices
from pipelines.harness import MissingResource, Params


class TrainedParams(Params):
    """devices: what networks are trained on; of the top level, unless the section says otherwise."""

    devices: Devices = ONE

    @field_validator("devices")
    @classmethod
    def _there(cls, devices: Devices) -> Devices:
        """Raises `MissingResource` where this machine lacks what is asked for."""
        if lacking := devices.lacking():
            raise MissingResource(
                f"params.yaml: devices asks for {lacking}: lower devices.count, or write accelerator: cpu"
            )
        return devices
