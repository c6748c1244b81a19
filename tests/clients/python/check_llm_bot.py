#!/usr/bin/env python3
"""Runs llm_bot.py against a scripted language model and interrupts it. Exit 0: it was heard, interrupted and heard again as it should be.

The model writes 20 tokens a second, so its answer lasts longer than the first words of it need to be heard.
"""
import asyncio
import json
import os
import sys
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from dbus_fast import BusType, Message, MessageType
from dbus_fast.aio import MessageBus

LONG = "Once upon a time there was a loudspeaker. " + "It said one thing after another, and nobody ever stopped it. " * 8
ANSWERS = [LONG, "All right, I am silent."]
asked, written, hung_up = [], [], threading.Event()


class Model(BaseHTTPRequestHandler):
    def do_POST(self):
        question = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        assert self.path == "/v1/chat/completions" and question["stream"] and question["model"] == "stub", (self.path, question)
        asked.append(question["messages"])
        written.append(0)
        self.send_response(200)
        self.send_header("Content-Type", "text/event-stream")
        self.end_headers()
        try:
            self.event({"choices": [{"delta": {"role": "assistant"}}]})
            for token in ANSWERS[len(asked) - 1].split(" "):
                time.sleep(0.05)
                self.event({"choices": [{"delta": {"content": token + " "}}]})
                written[-1] += 1
            self.wfile.write(b"data: [DONE]\n\n")
        except OSError:
            hung_up.set()

    def event(self, data):
        self.wfile.write(f"data: {json.dumps(data)}\n\n".encode())
        self.wfile.flush()

    def log_message(self, *_):
        pass


async def main():
    server = ThreadingHTTPServer(("127.0.0.1", 0), Model)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    bus = await MessageBus(bus_type=BusType.SESSION).connect()
    started = asyncio.Queue()
    bus.add_message_handler(lambda m: m.message_type == MessageType.SIGNAL and m.member == "UtteranceStarted" and started.put_nowait(m.body[0]))
    rule = "type='signal',sender='org.utterd.Utterd1',member='UtteranceStarted'"
    await bus.call(Message("org.freedesktop.DBus", "/org/freedesktop/DBus", "org.freedesktop.DBus", "AddMatch", signature="s", body=[rule]))

    url = f"http://127.0.0.1:{server.server_port}/v1"
    script = os.path.join(os.path.dirname(os.path.abspath(__file__)), "llm_bot.py")
    bot = await asyncio.create_subprocess_exec(
        sys.executable, script, url, "stub", stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE
    )
    bot.stdin.write("Tell me a story.\n".encode())
    await asyncio.wait_for(started.get(), 30)
    assert written[0] < len(LONG.split(" ")), "it is heard only when all is written"
    await asyncio.sleep(1)
    bot.stdin.write(b"Stop it, please.\n")
    bot.stdin.write_eof()
    out, _ = await asyncio.wait_for(bot.communicate(), 60)
    print(out.decode(), end="")
    first, second = out.decode().splitlines()
    heard = first.removeprefix("cancelled: ")
    assert heard and LONG.startswith(heard) and len(heard) < len(LONG), "not what was heard of the story"
    assert second.strip() == f"completed: {ANSWERS[1]}", "the next answer was not heard whole"
    assert [m["role"] for m in asked[1]] == ["user", "assistant", "user"] and asked[1][1]["content"] == heard, "the model was told another story"
    assert await asyncio.to_thread(hung_up.wait, 10), "the model goes on writing what nobody hears"
    assert bot.returncode == 0, f"exit status {bot.returncode}"


asyncio.run(main())
