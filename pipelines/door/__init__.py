"""The benchmark door: plain files in, plain predictions out, by the code that the stages run.

One module a verb in `verbs/`; `pipelines.benchmark` does what they share: the command line, timing, memory, the file
that is written.
"""

from pipelines.door.verb import Asked, File, Option, Verb

__all__ = ["Asked", "File", "Option", "Verb"]
