"""Rows of any database that SQLAlchemy reaches, as a stream; its secret comes from the environment or from Airflow."""

import contextlib
import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import quote, quote_plus

import pyarrow as pa

from pipelines import engine
from pipelines.harness import BadConfig, BadData, MissingResource, connections

SECRET = re.compile(r"\$\{([A-Za-z_][A-Za-z0-9_]*)\}")
ROWS = 10_000


def address(url: str, root: Path) -> str:
    """The URL with each `${NAME}` replaced by that variable of the environment, or what Airflow's connection says.

    Raises `BadConfig` where the URL itself holds a password (`params.yaml` is in git and in every record of a run),
    `MissingResource` where a variable is not set or Airflow has no such connection.
    """
    from sqlalchemy.engine import make_url
    from sqlalchemy.exc import ArgumentError

    connection = connections.named(url)
    if connection:
        return connections.address(connection, root)
    try:
        parsed = make_url(SECRET.sub("secret", url))
    except ArgumentError:
        raise BadConfig(
            f"shop: {SECRET.sub('…', url)!r} is no database URL, as dialect://user:${{NAME}}@host/base is"
        ) from None
    plain = SECRET.sub("", url)
    if parsed.password and parsed.password != "secret" or re.search(r":[^/@\s]+@", plain):
        raise BadConfig(
            "shop: the password stands in the URL: put it into the environment, and ${NAME} in its place"
        )
    for name in SECRET.findall(url):
        if not os.environ.get(name):
            raise MissingResource(f"the variable {name} is not set, which the database's URL names")
    return SECRET.sub(lambda match: quote_plus(os.environ[match.group(1)]), url)


def _hidden(words: str, url: str, full: str) -> str:
    """What a driver said without the secrets of the address, whichever way it quotes them."""
    from sqlalchemy.engine import make_url
    from sqlalchemy.exc import ArgumentError

    secrets = {os.environ[name] for name in SECRET.findall(url)}
    with contextlib.suppress(ArgumentError):
        secrets.add(str(make_url(full).password or ""))
    forms = {form(one) for one in secrets for form in (str, quote, quote_plus, _quoted)}
    for form in sorted(forms - {""}, key=len, reverse=True):
        words = words.replace(form, "…")
    return words


def _quoted(secret: str) -> str:
    return quote(secret, safe=" +")  # as SQLAlchemy does


def as_parquet(url: str, query: str, target: Path, root: Path) -> Path:
    """Write what a query gives as Parquet, all columns as text but bytes, `ROWS` rows at a time.

    root: the project, whose Airflow is asked for connections.

    Raises `MissingResource` where the database can't be reached or refuses the query; the message holds no secret.
    """
    from sqlalchemy import create_engine, text
    from sqlalchemy.exc import SQLAlchemyError

    if not url or not query:
        raise BadConfig("shop: a part of format sql has a url and a query")
    full = address(url, root)
    try:
        database = create_engine(full)
        with database.connect().execution_options(stream_results=True) as connection:
            result = connection.execute(text(query))
            names = list(result.keys())
            blocks = result.partitions(ROWS)
            first = next(blocks, [])
            kinds = [
                pa.binary() if any(isinstance(row[at], bytes) for row in first) else pa.string()
                for at in range(len(names))
            ]
            schema = pa.schema(list(zip(names, kinds, strict=True)))
            engine.write_batches(_batches(first, blocks, schema), schema, target)
        database.dispose()
    except (SQLAlchemyError, ImportError) as error:
        words = _hidden(str(error).partition("(Background on")[0], url, full)
        raise MissingResource(f"{url}: the query fails: {words.strip()}") from None
    return target


def _batches(first: Any, blocks: Iterator[Any], schema: pa.Schema) -> Iterator[pa.RecordBatch]:
    block = first
    while block:
        columns = [
            pa.array([_cell(row[at], field.type) for row in block], field.type)
            for at, field in enumerate(schema)
        ]
        yield pa.RecordBatch.from_arrays(columns, schema=schema)
        block = next(blocks, [])


def _cell(value: Any, kind: pa.DataType) -> Any:
    if value is None or pa.types.is_binary(kind):
        return value
    if isinstance(value, bytes):
        raise BadData("shop: a column of the query holds text and bytes: cast it in the query")
    if hasattr(value, "isoformat"):
        return value.isoformat(" ") if hasattr(value, "hour") else value.isoformat()
    return str(value)
