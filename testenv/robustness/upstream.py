"""A model server with bad manners: what it does stands in the path of the request, and it tells what it saw."""
import asyncio, socket, struct

METRICS = """# TYPE vllm:num_requests_running gauge
vllm:num_requests_running{engine="0",model_name="llama"} 0.0
# TYPE vllm:num_requests_waiting gauge
vllm:num_requests_waiting{engine="0",model_name="llama"} 0.0
# TYPE vllm:kv_cache_usage_perc gauge
vllm:kv_cache_usage_perc{engine="0",model_name="llama"} 0.0
"""
OK = b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok"
STREAM = b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n"


def chunk(data): return f"{len(data):x}\r\n".encode() + data + b"\r\n"


def reset(writer):
    """Ends the connection with a reset instead of an end."""
    writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    writer.transport.abort()


class Upstream:
    """`is_good` answers everything well: where a gateway goes when another one has failed it."""

    def __init__(self, is_good=False):
        self.is_good, self.seen, self.body_bytes, self.sent, self.open, self.ended = is_good, [], 0, 0, 0, 0

    async def listen(self):
        """Listens on one more port; its address."""
        # A long queue: thousands of streams are opened at once.
        server = await asyncio.start_server(self.serve, "127.0.0.1", 0, backlog=4096, limit=1 << 16)
        return f"127.0.0.1:{server.sockets[0].getsockname()[1]}"

    async def serve(self, reader, writer):
        self.open += 1
        try:
            while await self.serve_one(reader, writer): pass
        except (ConnectionError, asyncio.IncompleteReadError, asyncio.LimitOverrunError, asyncio.CancelledError, OSError): pass
        finally:
            self.open -= 1
            self.ended += 1
            writer.close()

    async def body(self, reader, headers):
        """Reads a body and drops it; its length."""
        count = 0
        if "chunked" in headers.get("transfer-encoding", ""):
            while True:
                size = int((await reader.readuntil(b"\r\n")).split(b";")[0], 16)
                await reader.readexactly(size + 2)
                count += size
                self.body_bytes += size
                if size == 0: return count
        left = int(headers.get("content-length", 0))
        while left > 0:
            data = await reader.read(min(left, 1 << 16))
            if not data: raise asyncio.IncompleteReadError(b"", left)
            left -= len(data)
            count += len(data)
            self.body_bytes += len(data)
        return count

    async def serve_one(self, reader, writer):
        head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").split("\r\n")
        method, path, _ = head[0].split(" ", 2)
        headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in head[1:] if line)}
        if path == "/metrics":
            writer.write(f"HTTP/1.1 200 OK\r\ncontent-type: text/plain; version=0.0.4\r\ncontent-length: {len(METRICS)}\r\n\r\n{METRICS}".encode())
            return True
        self.seen.append(f"{method} {path}")
        act = "good" if self.is_good else path.split("?")[0].rsplit("/", 1)[1]
        # Those that answer before the body is read.
        if act == "early":
            writer.write(b"HTTP/1.1 400 Bad Request\r\ncontent-length: 5\r\n\r\nearly")
            await writer.drain()
            await asyncio.sleep(0.5)
            return False
        if act == "early-reset":
            writer.write(b"HTTP/1.1 400 Bad Request\r\ncontent-length: 5\r\n\r\nearly")
            await writer.drain()
            await asyncio.sleep(0.2)
            reset(writer)
            return False
        if act == "unread":
            # It takes the connection and reads nothing of the body.
            await asyncio.sleep(60)
            return False
        size = await self.body(reader, headers)
        if act == "size":
            text = str(size)
            writer.write(f"HTTP/1.1 200 OK\r\ncontent-length: {len(text)}\r\n\r\n{text}".encode())
        elif act == "embeddings":
            text = '{"object":"list","data":[{"object":"embedding","index":0,"embedding":[0.25,0.5]}],"model":"llama","usage":{"prompt_tokens":1,"total_tokens":1}}'
            writer.write(f"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: {len(text)}\r\n\r\n{text}".encode())
        elif act == "close": return False
        elif act == "reset":
            reset(writer)
            return False
        elif act == "die-in-body":
            writer.write(b"HTTP/1.1 200 OK\r\ncontent-length: 1000\r\n\r\n0123456789")
            await writer.drain()
            return False
        elif act == "die-in-stream":
            writer.write(STREAM + chunk(b"data: 1\n\n"))
            await writer.drain()
            return False
        elif act == "reset-in-stream":
            writer.write(STREAM + chunk(b"data: 1\n\n"))
            await writer.drain()
            await asyncio.sleep(0.1)
            reset(writer)
            return False
        elif act == "garbage":
            writer.write(b"\x00\xff these are not the words of HTTP\r\n\r\n")
            await writer.drain()
            await asyncio.sleep(1)
            return False
        elif act == "garbage-in-stream":
            writer.write(STREAM + chunk(b"data: 1\n\n") + b"zz\r\nnot a chunk")
            await writer.drain()
            await asyncio.sleep(1)
            return False
        elif act == "two-lengths": writer.write(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\ncontent-length: 7\r\n\r\nok")
        elif act == "long-head":
            writer.write(b"HTTP/1.1 200 OK\r\n" + b"x-long: " + b"y" * 2_000_000 + b"\r\ncontent-length: 2\r\n\r\nok")
        elif act == "continues":
            writer.write(b"HTTP/1.1 100 Continue\r\n\r\n" * 2_000 + OK)
        elif act == "more":
            # An answer, and another one that nobody asked for.
            writer.write(OK + b"HTTP/1.1 200 OK\r\ncontent-length: 4\r\n\r\nevil")
        elif act == "silence":
            await reader.read()
            return False
        elif act == "drip":
            writer.write(STREAM)
            for number in range(20):
                writer.write(chunk(f"data: {number}\n\n".encode()))
                await asyncio.sleep(0.05)
            writer.write(chunk(b"data: [DONE]\n\n") + b"0\r\n\r\n")
        elif act == "drip-bytes":
            for byte in OK:
                writer.write(bytes([byte]))
                await asyncio.sleep(0.02)
        elif act == "idle":
            writer.write(STREAM + chunk(b"data: 1\n\n"))
            await reader.read()
            return False
        elif act in ("huge", "endless"):
            data, left = b"x" * (1 << 16), 4_000 if act == "huge" else 10 ** 9
            writer.write(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n")
            for _ in range(left):
                writer.write(chunk(data))
                self.sent += len(data)
                await writer.drain()
            writer.write(b"0\r\n\r\n")
        else: writer.write(OK)
        await writer.drain()
        return True
