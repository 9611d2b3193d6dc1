"""The page of a listing, with its texts, photos and link preview in the HTML itself."""

from html import escape
from string import Template
from typing import Final
from urllib.parse import quote, urlencode

from fb_marketplace_serving.search.listings.filters import SEPARATOR
from fb_marketplace_serving.search.listings.listing import Listing
from fb_marketplace_serving.server.loaded_release import LoadedRelease
from fb_marketplace_serving.server.schemas.listings import PhotoSize, Product, ProductPhoto
from fb_marketplace_serving.server.static import load_texts, render_page

MAX_EXCERPT: Final = 200
"""Characters of the description in a link preview."""

MAX_LINKS: Final = 12
"""Listings that a note, or the duplicates, link to."""

_SYMBOLS: Final = {"GBP": "£", "EUR": "€", "USD": "$"}


class Html(str):
    """Markup. All other texts are escaped."""

    __slots__ = ()


def fill(template: str, **values: object) -> Html:
    """Fill a template. Values are escaped, unless they are :class:`Html`."""
    return Html(
        Template(template).substitute(
            {
                name: value if isinstance(value, Html) else escape(str(value))
                for name, value in values.items()
            }
        )
    )


def join(parts: list[Html]) -> Html:
    """Join markup."""
    return Html("\n".join(parts))


def render_item(loaded: LoadedRelease, product: Product, root: str, language: str, url: str) -> str:
    """Render the page of a listing.

    Args:
        loaded: the release.
        product: the listing.
        root: address of the search page, relative to this page.
        language: language of the page.
        url: public address of the search page, which ends with a slash; empty if it is unknown. Link
            previews need absolute addresses.
    """
    return _render(_head(product, root, url), _item(loaded, product, language), language)


def render_error(status: int, title: str, root: str, language: str) -> str:
    """Render a page that shows no listing, with the HTTP status for its script."""
    head = fill('<base href="$root">\n<title>$title</title>', root=root, title=title)
    return _render(
        head, fill('<h1 data-status="$status">$title</h1>', status=status, title=title), language
    )


def item_path(product_id: str) -> str:
    """Return the path of a listing's page, relative to the search page."""
    return f"item/{quote(product_id, safe='')}"


def _render(head: Html, item: Html, language: str) -> str:
    before, between, after = (
        part
        for half in render_page("item.html", language).split("<!-- head -->")
        for part in half.split("<!-- item -->")
    )
    return f"{before}{head}{between}{item}{after}"


def _head(product: Product, root: str, url: str) -> Html:
    excerpt = " ".join(product.description.split())
    if len(excerpt) > MAX_EXCERPT:
        excerpt = f"{excerpt[:MAX_EXCERPT].rstrip()}…"
    place = product.town or product.county
    summary = " · ".join(filter(None, (_price(product), place, excerpt)))
    properties = {
        "og:type": "product",
        "og:site_name": "fb-marketplace",
        "og:title": product.title,
        "og:description": summary,
    }
    if product.price is not None:
        properties["product:price:amount"] = _amount(product.price)
        properties["product:price:currency"] = product.currency
    links = []
    if url:
        canonical = f"{url}{item_path(product.product_id)}"
        properties["og:url"] = canonical
        links.append(fill('<link rel="canonical" href="$url">', url=canonical))
        if product.photos:
            properties["og:image"] = f"{url}{_photo_path(product.photos[0])}"
    metas = [
        fill('<meta property="$name" content="$value">', name=name, value=value)
        for name, value in properties.items()
    ]
    return fill(
        '<base href="$root">\n<title>$title · fb-marketplace</title>\n'
        '<meta name="description" content="$summary">\n$more',
        root=root,
        title=product.title,
        summary=summary,
        more=join([*metas, *links]),
    )


def _item(loaded: LoadedRelease, product: Product, language: str) -> Html:
    texts = load_texts(language)
    return fill(
        '<article data-product="$id" data-title="$title">\n$crumbs\n$photos\n<div class="about">\n'
        '<h1>$title</h1>\n<p class="price"><data value="$amount" data-currency="$currency">$price</data>'
        "</p>\n$facts\n$context\n"
        '<div class="buttons"><button type="button" id="share" class="quiet" hidden>$share</button>$like'
        '</div>\n</div>\n<section><h2>$about</h2><p class="description">$description</p></section>\n'
        "$provenance\n</article>\n"
        '<details id="why" hidden><summary>$why</summary></details>\n'
        '<section id="similar" hidden><h2>$similar</h2><ol class="few"></ol></section>',
        id=product.product_id,
        title=product.title,
        crumbs=_crumbs(product, texts["category_path"]),
        photos=_photos(product, texts),
        amount="" if product.price is None else _amount(product.price),
        currency=product.currency,
        price=_price(product) or texts["no_price"],
        facts=_facts(product, texts),
        context=_context(loaded, product, texts),
        share=texts["share"],
        like=_like(product, texts),
        about=texts["item_description"],
        description=product.description or texts["no_description"],
        provenance=_provenance(product, texts),
        why=texts["why"],
        similar=texts["some_similar"],
    )


def _amount(price: float) -> str:
    return f"{price:.2f}".removesuffix(".00")


def _price(listing: Product | Listing) -> str:
    if listing.price is None:
        return ""
    amount = f"{listing.price:,.2f}".removesuffix(".00")
    symbol = _SYMBOLS.get(listing.currency)
    return f"{symbol}{amount}" if symbol else f"{amount} {listing.currency}"


def _crumbs(product: Product, label: str) -> Html:
    parts = product.category_path.split(SEPARATOR)
    paths = [SEPARATOR.join(parts[: depth + 1]) for depth in range(len(parts))]
    crumbs = [
        fill(
            '<li><a href=".?$query">$part</a></li>', query=urlencode({"category": path}), part=part
        )
        for path, part in zip(paths, parts, strict=True)
    ]
    return fill(
        '<nav class="crumbs" aria-label="$label"><ol>$crumbs</ol></nav>',
        label=label,
        crumbs=join(crumbs),
    )


def _photos(product: Product, texts: dict[str, str]) -> Html:
    photos = [
        fill(
            '<li><a href="$path" data-image="$image"><img src="$path" alt="$alt" $load></a></li>',
            path=_photo_path(photo),
            image=photo.image_id,
            alt=texts["photo_of"].format(number=number, count=len(product.photos)),
            load=Html('fetchpriority="high"' if number == 1 else 'loading="lazy"'),
        )
        for number, photo in enumerate(product.photos, start=1)
    ]
    if not photos:
        return fill('<p class="missing">$text</p>', text=texts["no_photo"])
    return fill('<ul id="photos">$photos</ul>', photos=join(photos))


def _photo_path(photo: ProductPhoto) -> str:
    return f"images/{quote(photo.image_id, safe='')}?size={int(PhotoSize.DISPLAY)}"


def _like(product: Product, texts: dict[str, str]) -> Html:
    if not product.photos:
        return Html("")
    query = urlencode({"like": product.photos[0].image_id})
    return fill(
        '<a class="tool" href=".?$query">$text</a>', query=query, text=texts["search_by_photo"]
    )


def _facts(product: Product, texts: dict[str, str]) -> Html:
    place = ", ".join(filter(None, (product.town, product.county))) or texts["unknown_place"]
    rows = [fill("<dt>$name</dt><dd>$value</dd>", name=texts["place"], value=place)]
    if product.created_at:
        day = fill(
            '<time datetime="$time">$day</time>',
            time=product.created_at.isoformat(),
            day=f"{product.created_at:%Y-%m-%d}",
        )
        rows.append(fill("<dt>$name</dt><dd>$day</dd>", name=texts["listed"], day=day))
    return fill("<dl>$rows</dl>", rows=join(rows))


def _context(loaded: LoadedRelease, product: Product, texts: dict[str, str]) -> Html:
    """Return the typical price, the notes and the duplicates, with links to the listings."""
    lines = []
    typical = product.typical_price
    if typical and not any(note.kind == "unusual_price" for note in product.notes):
        low, high = (
            _price(product.model_copy(update={"price": price}))
            for price in (typical.low, typical.high)
        )
        text = texts["typical_price"].format(low=low, high=high)
        lines.append((text, typical.comparables))
    lines += [(note.text, note.products) for note in product.notes]
    if product.duplicates:
        lines.append((texts["same_item"], product.duplicates))
    return join(
        [
            fill(
                '<details class="note"><summary>$text</summary><ul>$links</ul></details>',
                text=text,
                links=_links(loaded, product_ids),
            )
            if product_ids
            else fill('<p class="note">$text</p>', text=text)
            for text, product_ids in lines
        ]
    )


def _links(loaded: LoadedRelease, product_ids: list[str]) -> Html:
    listings = (loaded.release.listings.get(other) for other in product_ids[:MAX_LINKS])
    return join(
        [
            fill(
                '<li><a href="$path">$title</a> $price</li>',
                path=item_path(listing.product_id),
                title=listing.title,
                price=_price(listing),
            )
            for listing in listings
            if listing
        ]
    )


def _provenance(product: Product, texts: dict[str, str]) -> Html:
    origin = product.provenance
    if origin is None:
        return Html("")
    lines = [
        texts["origin_row"].format(row=origin.row),
        texts["origin_group"].format(count=origin.group_listings),
        texts["origin_split"].format(split=origin.split),
    ]
    lines += [
        texts["origin_photo"].format(
            number=number,
            format=photo.format,
            width=photo.width,
            height=photo.height,
            copies=photo.copies,
        )
        for number, photo in enumerate(product.photos, start=1)
        if photo.format
    ]
    return fill(
        '<details class="small"><summary>$title</summary><ul>$lines</ul></details>',
        title=texts["provenance"],
        lines=join([fill("<li>$line</li>", line=line) for line in lines]),
    )
