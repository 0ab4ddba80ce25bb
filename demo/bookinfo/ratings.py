"""Stars of one book."""

from service import Headers, Page, serve


def page(_: Headers) -> Page:
    return {"id": 0, "stars": {"Reviewer1": 5, "Reviewer2": 4}}


if __name__ == "__main__":
    serve("ratings", page)
