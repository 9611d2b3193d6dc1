"""Search requests in the shop of ``small_search``."""

from support.predict_client import problem

ONCE = {"p-bike", "p-chair", "p-lamp", "p-old", "p-plain", "p-table"}
"""The listings, of those that are the same the one that leads where nothing is searched for."""


def ask(client, **query):
    answer = client.get("/search", params=query)
    assert answer.status_code == 200, answer.text
    return answer.json()


def find_ids(client, **query):
    return [hit["product_id"] for hit in ask(client, **query)["hits"]]


def send(client, photo, **query):
    answer = client.post("/search", params=query, files={"image": ("photo.jpg", photo)})
    assert answer.status_code == 200, answer.text
    return answer.json()


def refusal(answer, status=422, release="v1"):
    return problem(answer, status, release)["detail"]


def refused(client, **query):
    return refusal(client.get("/search", params=query))
