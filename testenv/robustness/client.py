"""An HTTP/1.1 client in asyncio that tells apart what other clients call an error, and an open loop of requests."""
import asyncio, json, random, time

HEAD = b"\r\n\r\n"


class Answer:
    """How one request went.

    `outcome` is `answered` (whole, whatever its status), `refused` (no connection), `lost` (not a byte of an answer
    came), `cut` (it broke off in the middle), `late` (it took longer than its patience) or `left` (the client went).
    """
    __slots__ = ("id", "begun", "first", "ended", "status", "headers", "body", "bytes", "outcome", "where", "detail", "elsewhere")

    def __init__(self, id):
        self.id, self.begun, self.first, self.ended = id, time.time(), None, None
        self.status, self.headers, self.body, self.bytes = None, {}, b"", 0
        self.outcome, self.where, self.detail, self.elsewhere = None, None, "", 0

    @property
    def ttft(self): return None if self.first is None else self.first - self.begun

    @property
    def code(self):
        try: return json.loads(self.body)["error"]["code"]
        except (ValueError, KeyError, TypeError): return None

    def __repr__(self):
        return f"<{self.outcome} {self.status} {self.code or ''} {self.bytes} B {self.detail}>"


class Client:
    """Keeps connections, as the clients of applications do."""

    def __init__(self): self.idle = {}

    async def connect(self, address, fresh=False):
        kept = self.idle.get(address, [])
        while kept and not fresh:
            reader, writer = kept.pop()
            if not reader.at_eof() and not writer.is_closing(): return reader, writer, True
            writer.close()
        reader, writer = await asyncio.open_connection(*address, limit=1 << 20)
        return reader, writer, False

    async def ask(self, address, path="/v1/chat/completions", body=b"", headers=(), method="POST", id=None, leave_after=None,
                  patience=120, keep=True, keep_body=4096):
        """Sends a request and reads its answer; `leave_after` is how many seconds after its first byte the client goes."""
        answer = Answer(id)
        answer.where = address
        try:
            async with asyncio.timeout(patience):
                for fresh in (False, True):
                    reader, writer, was_kept = await self.connect(address, fresh)
                    try:
                        if await self.exchange(reader, writer, answer, path, body, headers, method, leave_after, keep_body) and keep:
                            self.idle.setdefault(address, []).append((reader, writer))
                        else:
                            writer.close()
                        break
                    except (ConnectionError, asyncio.IncompleteReadError) as error:
                        writer.close()
                        answer.detail = type(error).__name__
                        # What a kept connection did not carry may go on a new one: the usual race of a close.
                        if was_kept and answer.status is None and not fresh: continue
                        answer.outcome = "lost" if answer.status is None else "cut"
                        break
                    except BaseException:
                        writer.transport.abort()
                        raise
        except (TimeoutError, asyncio.TimeoutError): answer.outcome = "late"
        except OSError as error: answer.outcome, answer.detail = "refused", str(error)
        answer.ended = time.time()
        return answer

    async def exchange(self, reader, writer, answer, path, body, headers, method, leave_after, keep_body):
        """Whether the connection may be kept."""
        lines = [f"{method} {path} HTTP/1.1", "host: test", "content-type: application/json"]
        if not any(name == "content-length" for name, _ in headers): lines.append(f"content-length: {len(body)}")
        lines += [f"{name}: {value}" for name, value in headers]
        if answer.id: lines.append(f"x-request-id: {answer.id}")
        writer.write("\r\n".join(lines).encode() + HEAD + body)
        await writer.drain()
        head = (await reader.readuntil(HEAD)).decode("latin-1").split("\r\n")
        answer.status = int(head[0].split(" ")[1])
        answer.headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in head[1:] if line)}
        kept = []

        def take(chunk):
            if answer.first is None: answer.first = time.time()
            answer.bytes += len(chunk)
            if answer.bytes <= keep_body: kept.append(chunk)

        if "chunked" in answer.headers.get("transfer-encoding", ""):
            while True:
                size = int((await reader.readuntil(b"\r\n")).split(b";")[0], 16)
                chunk = await reader.readexactly(size + 2)
                if size == 0: break
                take(chunk[:-2])
                if leave_after is not None and time.time() - answer.first >= leave_after:
                    answer.outcome = "left"
                    writer.transport.abort()
                    return False
        else:
            left = int(answer.headers.get("content-length", 0))
            while left > 0:
                chunk = await reader.read(min(left, 1 << 16))
                if not chunk: raise asyncio.IncompleteReadError(b"", left)
                left -= len(chunk)
                take(chunk)
        answer.body, answer.outcome = b"".join(kept), "answered"
        return answer.headers.get("connection", "") != "close"

    def close(self):
        for kept in self.idle.values():
            for _, writer in kept: writer.close()
        self.idle = {}


def chat(tokens, words=20, stream=True, model="llama", seed=None):
    text = " ".join(random.Random(seed).choices(("wind", "rain", "high", "low", "front", "cloud", "map", "line"), k=words))
    return json.dumps({"model": model, "stream": stream, "max_tokens": tokens, "messages": [{"role": "user", "content": text}]}).encode()


async def open_loop(rate, seconds, send, until=None, seed=1):
    """Starts `send(number)` at random moments of a rate, whatever becomes of those before; their results, in order."""
    dice, tasks, begun, number, next_at = random.Random(seed), [], time.monotonic(), 0, time.monotonic()
    while time.monotonic() - begun < seconds and not (until and until()):
        next_at += dice.expovariate(rate)
        await asyncio.sleep(max(0, next_at - time.monotonic()))
        tasks.append(asyncio.create_task(send(number)))
        number += 1
    return await asyncio.gather(*tasks)
