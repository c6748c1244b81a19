#!/usr/bin/env python3
"""An agent's "say it when done" hook: speak, know when it was heard, and stop after a few words.

say_when_done.py ["The build is green."]; exit 0: both sentences ended as they should, 1: something is wrong, and it says what.
"""
import asyncio
import os
import sys

from dbus_fast import Variant
from dbus_fast.aio import MessageBus

NAME, ROOT = "org.utterd.Utterd1", "/org/utterd/Utterd1"


async def proxy(bus, path, interface):
    return bus.get_proxy_object(NAME, path, await bus.introspect(NAME, path)).get_interface(f"{NAME}.{interface}")


async def main(text):
    bus = await MessageBus().connect()  # DBUS_SESSION_BUS_ADDRESS
    manager = await proxy(bus, ROOT, "Manager")
    # lifetime "client": if this script dies, its session is closed and its speech stops.
    path = await manager.call_open_session(f"hook-{os.getpid()}", {"lifetime": Variant("s", "client")})
    session = await proxy(bus, path, "Session")

    # Subscribe before speaking. A signal may be handled before the reply of Say is seen, so our own tag, not the
    # utterance's id, says which one it is about.
    done, heard_words = asyncio.get_running_loop().create_future(), asyncio.Queue()

    def finished(_utterance, outcome, report):
        if report["tag"].value == "done" and not done.done():
            done.set_result((outcome, report["heard-text"].value))

    session.on_utterance_finished(finished)
    session.on_utterance_progress(lambda _u, kind, start, end, *_: kind == "word" and heard_words.put_nowait((start, end)))

    # 1. Say it, and be told when it was heard.
    await session.call_say(text, {"tag": Variant("s", "done")})
    outcome, heard = await asyncio.wait_for(done, 60)
    print(f"{outcome}: {heard}")
    assert (outcome, heard) == ("completed", text), "the sentence was not heard to its end"

    # 2. Stop after three words, as when the user answers early. The reply to Cancel says what was really heard.
    while not heard_words.empty():
        heard_words.get_nowait()
    story = "One two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen sixteen."
    utterance = await session.call_say(story, {"progress": Variant("s", "word")})
    for _ in range(3):
        _, end = await asyncio.wait_for(heard_words.get(), 60)
    report = await session.call_cancel({"utterance": Variant("t", utterance)})
    heard = report["heard-text"].value
    print(f"cancelled after: {heard}")
    assert report["result"].value == "cancelled" and story.startswith(heard), "the report is not about this sentence"
    assert end <= len(heard) < len(story), "what was heard does not end where it was stopped"


asyncio.run(main(sys.argv[1] if len(sys.argv) > 1 else "The build is green."))
