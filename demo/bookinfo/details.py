"""Details of one book."""

from service import Headers, Page, serve


def page(_: Headers) -> Page:
    return {"id": 0, "author": "William Shakespeare", "year": 1595, "pages": 200}


if __name__ == "__main__":
    serve("details", page)
