#!/usr/bin/env python3
"""A voice bot: each line of standard input is a question to a language model, whose words are spoken while it still writes them.
The next line interrupts. llm_bot.py [URL [MODEL]]: URL of any OpenAI-compatible server; $OPENAI_API_KEY if it wants one."""
import asyncio, http.client, itertools, json, os, sys, threading, urllib.parse
from dbus_fast import Variant, aio

NAME, ROOT = "org.utterd.Utterd1", "/org/utterd/Utterd1"
URL = urllib.parse.urlsplit(sys.argv[1] if len(sys.argv) > 1 else os.environ.get("OPENAI_BASE_URL", "http://127.0.0.1:11434/v1"))
MODEL = sys.argv[2] if len(sys.argv) > 2 else "default"
HEADERS = {"Content-Type": "application/json", "Authorization": f"Bearer {os.environ.get('OPENAI_API_KEY', '')}"}

def complete(messages, say):
    """Gives each token to say() as it comes, until the model has finished or say() is false."""
    server = getattr(http.client, URL.scheme.upper() + "Connection")(URL.netloc, timeout=120)
    body = json.dumps({"model": MODEL, "messages": messages, "stream": True})
    server.request("POST", f"{URL.path.rstrip('/')}/chat/completions", body, HEADERS)
    reply = server.getresponse()
    if reply.status != 200:
        raise RuntimeError(f"{URL.netloc} answered {reply.status}: {reply.read(200)!r}")
    for event in (line[5:].strip() for line in reply if line.startswith(b"data:")):
        choices = [] if event == b"[DONE]" else json.loads(event).get("choices")
        if choices and (token := choices[0].get("delta", {}).get("content")) and not say(token):
            break
    server.close()  # Interrupted: the server stops as well.

async def main():
    loop, bus, lines, messages, answer = asyncio.get_running_loop(), await aio.MessageBus().connect(), asyncio.Queue(), [], None
    wait_for = lambda coroutine: asyncio.run_coroutine_threadsafe(coroutine, loop).result()  # On the model's thread.
    proxy = lambda path, node, part: bus.get_proxy_object(NAME, path, node).get_interface(f"{NAME}.{part}")
    manager = proxy(ROOT, await bus.introspect(NAME, ROOT), "Manager")
    options = {"lifetime": Variant("s", "client"), "idle-ms": Variant("u", 120_000)}  # A model may think for a while.
    path = await manager.call_open_session(f"bot-{os.getpid()}", options)
    session = proxy(path, await bus.introspect(NAME, path), "Session")

    def speak(utterance, seq, question):
        try:
            complete(question, lambda token: wait_for(session.call_say_append(utterance, next(seq), token)) == "accepted")
        except Exception as why:
            print(f"llm_bot: {why}", file=sys.stderr)
        wait_for(session.call_say_end(utterance))

    async def heard(utterance):
        outcome, report = await session.call_wait(utterance, {})
        messages.append({"role": "assistant", "content": report["heard-text"].value})  # It goes on from what was heard.
        print(f"{outcome}: {report['heard-text'].value}", flush=True)

    read = lambda: [loop.call_soon_threadsafe(lines.put_nowait, line) for line in itertools.chain(sys.stdin, [None])]
    threading.Thread(target=read, daemon=True).start()
    while (line := await lines.get()) is not None:
        if answer:
            await session.call_cancel({"utterance": Variant("t", utterance)})  # Named: it cannot hit the next answer.
            await answer
        messages.append({"role": "user", "content": line.strip()})
        utterance = await session.call_say_open({})
        answer = asyncio.create_task(heard(utterance))
        threading.Thread(target=speak, args=(utterance, itertools.count(1), messages[:]), daemon=True).start()
    await (answer or asyncio.sleep(0))

asyncio.run(main())
