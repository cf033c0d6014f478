# What both clients share: requests in, answers and events out, one JSON object a line. See client.go.
import asyncio, json, sys


def say(line):
    sys.stdout.write(json.dumps(line) + "\n")
    sys.stdout.flush()


def happened(event):
    say({"event": event})


async def answer(client, line):
    request = json.loads(line)
    try:
        result = await getattr(client, "do_" + request["do"])(**(request["with"] or {}))
        say({"id": request["id"], "result": result})
    except Exception as e:
        say({"id": request["id"], "error": f"{type(e).__name__}: {e}"})


async def requests(client):
    """Answers requests, each in a task of its own, until standard input ends."""
    reader = asyncio.StreamReader(limit=256 * 1024 * 1024)
    await asyncio.get_running_loop().connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), sys.stdin)
    tasks = set()
    while line := await reader.readline():
        task = asyncio.create_task(answer(client, line))
        tasks.add(task)
        task.add_done_callback(tasks.discard)
