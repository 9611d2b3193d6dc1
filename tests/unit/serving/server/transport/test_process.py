"""The checks of connections by the server process."""

import asyncio
from types import SimpleNamespace

from fastapi import FastAPI

from fb_marketplace_serving.server.metrics import Metrics
from fb_marketplace_serving.server.settings import Settings
from fb_marketplace_serving.server.transport.process import Server


def test_connection_that_cannot_be_checked_is_closed(caplog):
    app = FastAPI()
    app.state.service = SimpleNamespace(metrics=Metrics({}))
    server = Server(app, Settings(), lambda: None)
    second_check, aborted = asyncio.Event(), []

    class Broken:
        def check_time(self, now):
            raise RuntimeError("broken")

        def abort(self):
            aborted.append(self)
            server.server_state.connections.discard(self)

    class Checked:
        def check_time(self, now):
            second_check.set()

    async def scenario():
        server.server_state.connections.update([Broken(), Checked()])
        server._sweep()
        second_check.clear()
        await asyncio.wait_for(second_check.wait(), 10)

    asyncio.run(scenario())

    assert "broken" in caplog.text
    assert len(aborted) == 1
