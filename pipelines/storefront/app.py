"""The page and what its script asks for: lists, a list for who is new, look-alikes, what buyers say, answers.

Everything is read-only.
"""

import json
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Annotated, Any

import pandas as pd
from fastapi import FastAPI, HTTPException, Query
from fastapi.responses import HTMLResponse, JSONResponse, Response
from fastapi.staticfiles import StaticFiles
from jinja2 import Environment, FileSystemLoader, StrictUndefined
from pydantic import BaseModel, Field
from starlette.concurrency import run_in_threadpool
from starlette.datastructures import MutableHeaders
from starlette.middleware.trustedhost import TrustedHostMiddleware
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from pipelines.lists.rules import Rules
from pipelines.report_sections.answers import quote
from pipelines.report_sections.inputs import cut
from pipelines.services.processes import LOOPBACK
from pipelines.storefront.champions import Follower
from pipelines.storefront.goods import Goods, Lists, Pictures
from pipelines.storefront.said import Said

HERE = Path(__file__).parent
HEADERS = {
    "Content-Security-Policy": "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; "
    "connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Permissions-Policy": "camera=(), geolocation=(), microphone=()",
    "Cache-Control": "no-cache",
}
SUGGESTED, ALIKE, SPOKEN = 24, 8, 200
USERS = 20
"""Ids of users that are suggested at once."""
LONGEST, LONGEST_USER = 200, 1000
"""Characters of what is asked; of a user's id."""
NEAREST = 3
"""Reviews that speak of a question, shown where none answers it."""
AROUND = 400
"""Characters of a review that are shown with its quote."""
WORDS = {
    "again": "You had it before.",
    "because": "It goes with what you had: ",
    "popular": "Many buy it lately.",
    "catalogue": "It is new on the shelf.",
}


class Headers:
    """Adds `HEADERS` to every answer, by ASGI's own messages: cheaper than a wrapped response."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        async def with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                MutableHeaders(scope=message).update(HEADERS)
            await send(message)

        await self.app(scope, receive, with_headers)


class Touched(BaseModel):
    """What somebody new clicked."""

    items: Annotated[list[Annotated[str, Field(max_length=LONGEST)]], Field(max_length=50)]


class Asked(BaseModel):
    """A question about an item that has reviews."""

    item: Annotated[str, Field(max_length=LONGEST)]
    question: Annotated[str, Field(min_length=1, max_length=500)]


@dataclass(frozen=True, eq=False)
class Front:
    """What the routes read."""

    goods: Goods
    pictures: Pictures
    said: Said
    follower: Follower
    rules: Rules

    def card(self, item: str) -> dict[str, Any]:
        """A product as the page draws it: picture is "" where there is none; said: whether buyers speak of it."""
        card = self.goods.card(item)
        picture = card["picture"] if card["picture"] in self.pictures else ""
        return {**card, "picture": picture, "said": item in self.said.spoken}

    def shown(self, rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
        """Rows of a list as the page draws them, with their reasons in words."""
        found = []
        for row in rows:
            why = WORDS[row["reason"]]
            if row["reason_item_id"]:
                why = f"{why}{self.goods.card(row['reason_item_id'])['title']}."
            found.append({**self.card(row["item_id"]), "why": why})
        return found

    @lru_cache(maxsize=20_000)  # noqa: B019 one object a process
    def list_body(self, lists: Lists, user: str) -> bytes | None:
        """A user's list as JSON, kept until other lists are newest; None where there is none."""
        rows = lists.of(user)
        if rows is None:
            return None
        told = {"user": user, "known": True, "items": self.shown(rows)}
        return json.dumps(told, ensure_ascii=False).encode()

    def newcomer(self, touched: list[str]) -> dict[str, Any]:
        """What the champion lists for somebody new who clicked these items; 503 while there is no champion."""
        serving = self.follower.newcomers()
        if serving is None:
            fault = self.follower.told.faults.get("recommender", "the champion is being loaded")
            raise HTTPException(503, fault)
        rows = serving.list(touched, self.rules)
        return {"items": self.shown(rows), "champion": serving.loaded.manifest}


def make_app(front: Front) -> FastAPI:
    """The application; its follower runs as long as it does."""

    @asynccontextmanager
    async def following(app: FastAPI) -> AsyncIterator[None]:
        front.follower.start()
        yield
        front.follower.stop()

    app = FastAPI(lifespan=following, docs_url=None, redoc_url=None, openapi_url=None)
    app.add_middleware(TrustedHostMiddleware, allowed_hosts=[LOOPBACK, "localhost"])
    app.add_middleware(Headers)
    app.mount("/assets", StaticFiles(directory=HERE / "assets"), name="assets")
    page = Environment(
        loader=FileSystemLoader(HERE / "pages"), autoescape=True, undefined=StrictUndefined
    ).get_template("shop.html")

    @app.get("/")
    async def shop() -> HTMLResponse:
        lists = front.follower.lists
        spoken = [name for name in front.said.spoken if name][:SPOKEN]
        text = page.render(
            users=lists.beginning("", USERS) if lists else [],
            longest=LONGEST_USER,
            pictures=[front.pictures.card(key) for key in front.pictures.first],
            kinds=front.pictures.commonest,
            spoken=[front.goods.card(name) for name in spoken],
            nameless="" in front.said.spoken,
            faults=front.follower.told.faults,
        )
        return HTMLResponse(text)

    @app.get("/api/state")
    async def state() -> JSONResponse:
        follower = front.follower
        loaded, lists = follower.recommender.current, follower.lists
        return JSONResponse(
            {
                "recommender": loaded.manifest if loaded else None,
                "lists": {"known_until": lists.known_until, "users": len(lists.users)}
                if lists
                else None,
                "faults": follower.told.faults,
            }
        )

    @app.get("/api/users")
    async def users(q: Annotated[str, Query(max_length=LONGEST_USER)] = "") -> JSONResponse:
        """Ids of users who have a list, by their beginning; of an empty one some of all."""
        found = front.follower.lists
        return JSONResponse(found.beginning(q, USERS) if found else [])

    @app.get("/api/lists/{user:path}")
    async def lists(user: str) -> Response:
        """A user's list; of an unknown one what somebody new gets, with `known` false."""
        found = front.follower.lists
        if found is None:
            raise HTTPException(503, front.follower.told.faults.get("lists", "no lists yet"))
        body = front.list_body(found, user)
        if body is None:
            new = await run_in_threadpool(front.newcomer, [])
            return JSONResponse({**new, "user": user, "known": False})
        return Response(body, media_type="application/json")

    @app.get("/api/products")
    async def products(q: Annotated[str, Query(max_length=LONGEST)] = "") -> JSONResponse:
        """Products to click: those on most lists, or those whose titles hold every word of `q`."""
        found = front.follower.lists
        if not q.strip():
            names = found.popular if found else front.goods.items[:SUGGESTED].tolist()
            return JSONResponse([front.card(name) for name in _mixed(front.goods, names)])
        titles = pd.Series(front.goods.titles).str.casefold()
        holds = front.goods.available.copy()
        for word in q.casefold().split():
            holds &= titles.str.contains(word, regex=False).to_numpy(dtype=bool)
        return JSONResponse([front.card(name) for name in front.goods.items[holds][:SUGGESTED]])

    @app.post("/api/fold-in")
    def new_here(touched: Touched) -> JSONResponse:
        return JSONResponse(front.newcomer(touched.items))

    @app.get("/api/alike/{key:path}")
    def alike(key: str, kind: Annotated[str, Query(max_length=LONGEST)] = "") -> JSONResponse:
        """Pictures nearest to one, of a kind if one is named."""
        found = front.pictures.alike(key, ALIKE, kind)
        if found is None:
            raise HTTPException(404, "no such picture")
        return JSONResponse(found)

    @app.get("/pictures/{key:path}")
    def picture(key: str) -> Response:
        found = front.pictures.small(key)
        if found is None:
            raise HTTPException(404, "no such picture")
        return Response(found, media_type="image/png")

    @app.get("/api/said")
    def said(item: Annotated[str, Query(max_length=LONGEST)] = "") -> JSONResponse:
        """What buyers say of a product; without one, the reviews that name none."""
        found = front.said.of(item)
        if found is None:
            raise HTTPException(404, "no review speaks of that product")
        return JSONResponse({"title": front.goods.card(item)["title"], "aspects": found})

    @app.get("/api/asked")
    def asked() -> JSONResponse:
        """The items that questions may be asked about. The first call loads the champion."""
        front.follower.questions.set()
        model = front.follower.answers.follow(front.follower.registry()).model
        return JSONResponse([front.goods.card(name) for name in sorted(model.library)[:SPOKEN]])

    @app.post("/api/ask")
    def ask(question: Asked) -> JSONResponse:
        model = front.follower.answers.follow(front.follower.registry()).model
        if question.item not in model.library:
            raise HTTPException(404, "no review of that item is known")
        frame = pd.DataFrame({"item_id": [question.item], "question": [question.question]})
        found = model.predict(frame).iloc[0]
        texts = {one.review_id: one.text for one in model.library[question.item]}
        place = found["review_id"], found["start"], found["end"]
        shown = quote(texts, *place, AROUND) if found["answer"] else None
        nearest = [] if shown else [name for name in found["reviews"] if name in texts][:NEAREST]
        return JSONResponse(
            {
                "answer": str(found["answer"]),
                "quote": shown and {**shown, **_source(found)},
                "confidence": round(float(found["confidence"]), 3),
                "further": [{**_source(one), "text": one["text"]} for one in found["evidence"]],
                "asks": found["asks"],
                "says_yes": list(found["says_yes"]),
                "says_no": list(found["says_no"]),
                "nearest": [{"review": name, "text": cut(texts[name], AROUND)} for name in nearest],
            }
        )

    return app


def _source(quoted: Mapping[str, Any]) -> dict[str, Any]:
    """The review that a quote is of, with its day ("" where unknown) and stars (None where unknown)."""
    stars = quoted["stars"]
    return {
        "review": quoted["review_id"],
        "date": quoted["date"],
        "stars": None if pd.isna(stars) else float(stars),
    }


def _mixed(goods: Goods, names: list[str]) -> list[str]:
    """The first names of different categories, then others, so that a newcomer sees more than one shelf."""
    seen: set[str] = set()
    first: list[str] = []
    rest: list[str] = []
    for name in names[: SUGGESTED * 20]:
        category = goods.card(name)["category"]
        (rest if category in seen else first).append(name)
        seen.add(category)
    return [*first, *rest][:SUGGESTED]
