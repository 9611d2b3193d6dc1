"""How the tests search over HTTP, in the shop of ``small_search``."""

PROBLEM = "application/problem+json"
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
    assert answer.status_code == status
    assert answer.headers["content-type"] == PROBLEM
    assert answer.headers["x-release"] == release
    return answer.json()["detail"]


def refused(client, **asked):
    return refusal(client.get("/search", params=asked))
