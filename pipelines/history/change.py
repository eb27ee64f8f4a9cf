"""Figures of all users and items, made anew for those alone whose figures a day changed.

Those are users and items of which a sum is another than in the run before, or a cell of the catalogue, or the typical price
of a category. The others' rows are taken over.
"""

from dataclasses import dataclass
from functools import reduce
from typing import Any

import ibis

from pipelines import engine
from pipelines.history.figures import finished, rows, typical
from pipelines.history.sums import Sums, merged
from pipelines.tables import Interactions, Products

USER, ITEM = Interactions.USER, Interactions.ITEM


@dataclass(frozen=True)
class Before:
    """What an earlier run knew. figures: of users and of items, by the key. gone: the sums of parts that are none any more.

    come: those of parts that were none. products: None where they are as they were.
    """

    figures: dict[str, ibis.Table]
    gone: Sums
    come: Sums
    products: ibis.Table | None


def figures_of_all(
    connection: Any, sums: Sums, products: ibis.Table | None, before: Before | None
) -> dict[str, ibis.Table]:
    """`finished` figures of users and items, by the key: the same whatever was known before."""
    if before is None:
        sums = Sums(engine.keep(connection, "together", merged(sums.pairs)), sums.orders)
        items = engine.keep(connection, ITEM, rows(sums, products, None, ITEM))
        usual = _kept_typical(connection, items)
        users = engine.keep(connection, USER, rows(sums, products, usual, USER))
    else:
        moved = engine.keep(connection, "moved", _moved(before.gone, before.come))
        touched = [moved]
        if products is not None and before.products is not None:
            other = differing(before.products, products, ITEM)
            touched.append(engine.keep(connection, "other", other))
        items = _renewed(connection, sums, products, None, _each(ITEM, touched), before)
        usual = _kept_typical(connection, items)
        # Whose category or typical price is another, of those everything else stays.
        priced = touched[1:]
        if usual is not None and products is not None:
            was = typical(before.figures[ITEM])
            categories = differing(was, usual, Products.CATEGORY)
            priced.append(products.semi_join(categories, Products.CATEGORY))
        touched = [moved]
        if priced:
            priced = engine.keep(connection, "priced", _each(ITEM, priced))
            if engine.count(priced):
                touched.append(sums.pairs.semi_join(priced, ITEM))
        users = _renewed(connection, sums, products, usual, _each(USER, touched), before)
    return {USER: finished(users, usual, USER), ITEM: finished(items, usual, ITEM)}


def differing(before: ibis.Table, now: ibis.Table, *names: str) -> ibis.Table:
    """The cells `names` of rows that one of two tables of equal columns has more often than the other; each once."""
    sides = [table.mutate(_side=side) for table, side in ((before, -1), (now, 1))]
    both = sides[0].union(sides[1].select(sides[0].columns))
    counts = both.group_by(before.columns).aggregate(_more=both["_side"].sum())
    return counts.filter(counts["_more"] != 0).select(*names).distinct()


def _moved(gone: Sums, come: Sums) -> ibis.Table:
    """Users and items of pairs of which the parts that `come` tell another thing than those that are `gone`."""
    found = differing(merged(gone.pairs), merged(come.pairs), USER, ITEM)
    if gone.orders is None or come.orders is None:
        return found
    return found.union(differing(gone.orders.distinct(), come.orders.distinct(), USER, ITEM))


def _each(name: str, tables: list[ibis.Table]) -> ibis.Table:
    """The cells of one column of several tables, each once."""
    return reduce(ibis.Table.union, [table.select(name) for table in tables]).distinct()


def _kept_typical(connection: Any, items: ibis.Table) -> ibis.Table | None:
    found = typical(items)
    return None if found is None else engine.keep(connection, "usual", found)


def _renewed(
    connection: Any,
    sums: Sums,
    products: ibis.Table | None,
    usual: ibis.Table | None,
    touched: ibis.Table,
    before: Before,
) -> ibis.Table:
    """`rows` of all keys: made of those `touched`, a table of one column; of the others as they were."""
    (key,) = touched.columns
    touched = engine.keep(connection, f"touched_{key}", touched)
    own = sums.of(touched)
    own = Sums(engine.keep(connection, f"pairs_{key}", merged(own.pairs)), own.orders)
    made = rows(own, products, usual, key)
    stay = before.figures[key].select(made.columns).anti_join(touched, key)
    found = engine.keep(connection, key, made.union(stay.cast(made.schema())))
    engine.let_go(connection, f"pairs_{key}")
    return found
