"""Turn product pictures and their labels into the canonical table of images."""

from pipelines.harness import Params, Run, stage
from pipelines.sources import given, write


class IngestPicturesParams(Params):
    """source: a name of `pipelines.sources`. images: how many pictures (0: all)."""

    source: str
    images: int


@stage
def ingest_pictures(run: Run, params: IngestPicturesParams) -> None:
    with given(run, "pictures", params.source, images=params.images) as found:
        write(run, found, {"images": ["image_key"]})


if __name__ == "__main__":
    ingest_pictures.main()
