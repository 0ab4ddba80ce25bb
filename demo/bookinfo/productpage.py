"""The page: details and reviews of one book."""

from service import Headers, Page, call, serve


def page(headers: Headers) -> Page:
    return {"details": call("details", "/details/0", headers), "reviews": call("reviews", "/reviews/0", headers)}


if __name__ == "__main__":
    serve("productpage", page)
