"""Reviews of one book: v1 without stars; v2 with black ones and v3 with red ones, which the ratings service knows."""

import os

from service import Headers, Page, call, serve

COLOURS = {"v2": "black", "v3": "red"}


def page(headers: Headers) -> Page:
    colour = COLOURS.get(os.environ.get("VERSION", "v1"))
    answer: Page = {"id": 0, "reviews": ["An entertaining play.", "Absolutely fun."]}
    return answer | ({"colour": colour, "ratings": call("ratings", "/ratings/0", headers)} if colour else {})


if __name__ == "__main__":
    serve("reviews", page)
