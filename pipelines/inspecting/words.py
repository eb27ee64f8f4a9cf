"""Which names and values of columns speak for which of ours: words only, in English, German and Chinese."""

import re

ROLES: dict[str, tuple[str, ...]] = {
    "user_id": (
        *("userid", "customerid", "clientid", "visitorid", "buyerid", "memberid", "accountid"),
        *("householdid", "reviewerid", "user", "customer", "client", "visitor", "buyer", "uid"),
        *("customerno", "customernumber", "customerkey", "kunde", "kundennr", "kundennummer"),
        *("kundenid", "用户id", "用户", "会员id"),
    ),
    "item_id": (
        *("itemid", "productid", "articleid", "sku", "asin", "parentasin", "goodsid", "stockcode"),
        *("item", "product", "article", "itemcode", "productcode", "productkey", "ean", "gtin"),
        *("artikel", "artikelnr", "artikelnummer", "artikelid", "商品id", "商品编号"),
    ),
    "timestamp": (
        *("timestamp", "eventtime", "datetime", "time", "createdat", "orderdate", "invoicedate"),
        *("purchasedate", "purchasetime", "eventdate", "reviewdate", "reviewtime", "date", "ts"),
        *("created", "orderedat", "day", "datum", "bestelldatum", "zeit", "时间", "日期"),
    ),
    "event": ("event", "eventtype", "action", "behavior", "behaviour", "activity", "ereignis"),
    "value": ("quantity", "qty", "units", "count", "menge", "anzahl", "数量"),
    "rating": ("rating", "stars", "score", "overall", "bewertung", "sterne", "评分"),
    "price": ("price", "unitprice", "saleprice", "preis", "einzelpreis", "价格"),
    "order_id": (
        *("orderid", "ordernumber", "orderno", "invoice", "invoiceno", "invoiceid", "basketid"),
        *("transactionid", "bestellnr", "bestellnummer", "订单号"),
    ),
    "title": (
        *("title", "productname", "productdisplayname", "producttitle", "prodname", "itemname"),
        *("name", "displayname", "bezeichnung", "titel", "标题", "商品名称"),
    ),
    "description": ("description", "productdescription", "detaildesc", "beschreibung", "描述"),
    "category": (
        *("category", "categoryname", "categories", "producttype", "maincategory", "categorypath"),
        *("subcategory", "mastercategory", "categorycode", "kategorie", "warengruppe", "类别"),
    ),
    "brand": ("brand", "brandname", "manufacturer", "vendor", "marke", "hersteller", "品牌"),
    "currency": ("currency", "currencycode", "waehrung", "währung"),
    "available": ("available", "availability", "instock", "isinstock", "stockstatus", "verfügbar"),
    "image_key": ("imagekey", "imageid", "image", "picture", "photo", "imagefile", "filename"),
    "text": (
        *("text", "reviewtext", "review", "reviewbody", "comment", "content", "body", "feedback"),
        *("kommentar", "评论", "内容"),
    ),
    "label": ("label", "sentiment", "polarity", "情感"),
    "language": ("language", "lang", "locale", "sprache"),
    "review_id": ("reviewid", "commentid"),
    "question": ("question", "questiontext", "frage"),
    "question_id": ("questionid", "qid"),
    "leave_out": ("istest", "test", "testorder", "istestorder", "internal"),
}
"""Our column to the names of theirs that speak for it, the surest first; without spaces, signs and case."""

EVENTS = {
    "view": ("view", "click", "pageview", "detail", "detailview", "pv", "impression", "visit"),
    "cart": ("cart", "addtocart", "addcart", "basket", "favorite", "fav", "wishlist"),
    "purchase": ("purchase", "buy", "transaction", "order", "sale", "bought", "kauf"),
    "rating": ("rating", "rate", "review"),
}
LABELS = {
    "positive": ("positive", "pos", "positiv", "good", "1", "好评", "正面"),
    "negative": ("negative", "neg", "negativ", "bad", "0", "-1", "差评", "负面"),
    "neutral": ("neutral", "neu", "中评", "中性"),
}

CURRENCIES = {"€": "EUR", "£": "GBP", "₹": "INR"}


def plain(name: str) -> str:
    """A name without case, signs and what RecBole writes behind it.

    >>> plain("Customer ID"), plain("user_id:token"), plain("reviewText")
    ('customerid', 'userid', 'reviewtext')
    """
    return re.sub(r"[\W_]+", "", name.partition(":")[0].lower())


def rank(role: str, name: str) -> int | None:
    """The place of a name among those that speak for `role`; None where it is none of them."""
    word = plain(name)
    return ROLES[role].index(word) if word in ROLES[role] else None


def column_name(name: str) -> str:
    """A name that a column of ours may have: small letters, digits and `_`."""
    spaced = re.sub(r"([a-z0-9])([A-Z])", r"\1_\2", name.partition(":")[0])
    return re.sub(r"\W+", "_", spaced.lower()).strip("_") or "column"
