"""How the tests search over HTTP, in the shop of ``small_search``."""

from support.predict_client import problem

ONCE = {"p-bike", "p-chair", "p-lamp", "p-old", "p-plain", "p-table"}
"""The listings, of those that are the same the one that leads where nothing is searched for."""


def ask(client, **asked):
    answer = client.get("/search", params=asked)
    assert answer.status_code == 200, answer.text
    return answer.json()


def found(client, **asked):
    return [hit["product_id"] for hit in ask(client, **asked)["hits"]]


def send(client, photo, **asked):
    answer = client.post("/search", params=asked, files={"image": ("photo.jpg", photo)})
    assert answer.status_code == 200, answer.text
    return answer.json()


def refusal(answer, status=422, release="v1"):
    return problem(answer, status, release)["detail"]


def refused(client, **asked):
    return refusal(client.get("/search", params=asked))
