"""The official Python SDK drives every method of the Videos API against a running Kinora.

Usage: KINORA_URL=http://127.0.0.1:8000 KINORA_KEY=kn-... python openai_python.py

Works with every version of the package `openai` that has `videos` (2.2.0 and later): where a version lacks a method,
or cannot encode what the interface allows (see the comments), the same request goes through the SDK's own low-level
call, as OpenAI's own command line does it.
"""

import asyncio
import http.server
import os
import struct
import tempfile
import threading
import zlib

import openai
from openai import AsyncOpenAI, OpenAI
from openai.types import Video

URL = os.environ["KINORA_URL"]
KEY = os.environ["KINORA_KEY"]
# Small and few steps: what is tested is the interface. Everything else is the SDK's default.
SMALL = {"num_inference_steps": 2, "seed": 7}
CLIP = {"size": "128x128", "seconds": "1"}

client = OpenAI(base_url=f"{URL}/v1", api_key=KEY)
version = tuple(int(part) for part in openai.__version__.split(".")[:2])
has_edits = hasattr(client.videos, "edit")


def png(width, height, rgb):
    """A picture of one colour."""
    def chunk(kind, data):
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    rows = (b"\0" + bytes(rgb) * width) * height
    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")


def finished(video):
    video = client.videos.poll(video.id, poll_interval_ms=200) if video.status not in ("completed", "failed") else video
    assert video.status == "completed", video
    assert video.progress == 100 and video.error is None, video
    return video


def low_level(path, body):
    """What the SDK cannot encode: `video={"id": ...}` raises on the client in every version since 2.27."""
    return finished(client.post(path, body={**body, **SMALL}, cast_to=Video))


def create():
    video = client.videos.create_and_poll(
        prompt="a red ball rolls over grass", model="sora-2", extra_body=SMALL, poll_interval_ms=200, **CLIP)
    assert video.status == "completed", video
    assert video.object == "video" and video.model == "sora-2", video
    assert video.size == "128x128" and video.seconds == "1", video
    assert video.prompt == "a red ball rolls over grass" and video.remixed_from_video_id is None, video
    assert video.completed_at >= video.created_at, video
    again = client.videos.retrieve(video.id)
    assert again.id == video.id and again.status == "completed"
    return video


def content(video):
    magic = {"video": b"ftyp", "thumbnail": b"WEBP", "spritesheet": b"\xff\xd8\xff"}
    for variant, mark in magic.items():
        data = client.videos.download_content(video.id, variant=variant).read()
        assert mark in data[:16], (variant, data[:16])
    with tempfile.TemporaryDirectory() as folder:
        path = os.path.join(folder, "clip.mp4")
        client.videos.download_content(video.id).write_to_file(path)
        assert os.path.getsize(path) > 1000
    part = client.videos.with_raw_response.download_content(video.id, extra_headers={"Range": "bytes=0-99"})
    assert part.http_response.status_code == 206 and len(part.content) == 100


def derive(video):
    remix = client.videos.remix(video.id, prompt="a blue ball rolls over grass", extra_body=SMALL)
    remix = finished(remix)
    assert remix.remixed_from_video_id == video.id, remix

    clip = client.videos.download_content(video.id).read()
    if has_edits:
        edited = finished(client.videos.edit(
            prompt="a green ball", video=("clip.mp4", clip, "video/mp4"), extra_body={**SMALL, "model": "sora-2"}))
        # Raw bytes travel as `upload` of type application/octet-stream.
        finished(client.videos.edit(prompt="a green ball", video=clip, extra_body={**SMALL, "model": "sora-2"}))
        # With an id, past the SDK's encoder, as multipart `video[id]`.
        finished(client.videos.edit(
            prompt="a green ball", video=openai.omit, extra_body={**SMALL, "video": {"id": video.id}}))
        # The header makes the SDK send JSON.
        finished(client.videos.extend(
            prompt="it goes on", seconds="1", video=openai.omit,
            extra_body={**SMALL, "video": {"id": video.id}}, extra_headers={"Content-Type": "application/json"}))
    else:
        edited = low_level("/videos/edits", {"prompt": "a green ball", "video": {"id": video.id}})
    assert edited.size == "128x128", edited
    longer = low_level("/videos/extensions", {"prompt": "it goes on", "seconds": "1", "video": {"id": video.id}})
    assert float(longer.seconds) == 2.0, longer


def reference():
    picture = png(128, 128, (200, 30, 30))
    finished(client.videos.create(prompt="a red wall", input_reference=picture, extra_body=SMALL, **CLIP))
    finished(client.videos.create(
        prompt="a red wall", input_reference=("wall.png", picture, "image/png"), extra_body=SMALL, **CLIP))


def characters(video):
    clip = client.videos.download_content(video.id).read()
    if has_edits:
        character = client.videos.create_character(name="Mossy", video=("clip.mp4", clip, "video/mp4"))
        found = client.videos.get_character(character.id)
        assert found.name == "Mossy" and found.id == character.id
        character_id = character.id
    else:
        import httpx
        made = httpx.post(f"{URL}/v1/videos/characters", headers={"Authorization": f"Bearer {KEY}"},
                          data={"name": "Mossy"}, files={"video": ("clip.mp4", clip, "video/mp4")})
        made.raise_for_status()
        character_id = made.json()["id"]
    body = {**SMALL, "characters": [{"id": character_id}]}
    finished(client.videos.create(prompt="Mossy rolls over sand", extra_body=body, **CLIP))


def paging(video):
    page = client.videos.list(limit=1)
    assert len(page.data) == 1 and page.has_more
    ids = [entry.id for entry in client.videos.list(limit=2)]
    assert video.id in ids and len(ids) == len(set(ids)) >= 4, ids
    oldest = client.videos.list(limit=1, order="asc").data[0]
    assert oldest.created_at <= page.data[0].created_at


def errors(video):
    def refused(kind, call, **wanted):
        try:
            call()
        except kind as error:
            for name, value in wanted.items():
                assert getattr(error, name) == value, (name, getattr(error, name), value)
            assert error.request_id, "no x-request-id"
            return
        raise AssertionError(f"{kind.__name__} was expected")

    refused(openai.BadRequestError, lambda: client.videos.create(prompt="x", seconds="0"), param="seconds")
    refused(openai.BadRequestError, lambda: client.videos.create(prompt="x", size="7x7"), param="size")
    refused(openai.BadRequestError, lambda: client.videos.create(prompt=""), param="prompt")
    refused(openai.BadRequestError, lambda: client.videos.create(prompt="x", model="no-such-model"), param="model")
    refused(openai.NotFoundError, lambda: client.videos.retrieve("video_" + "0" * 48))
    refused(openai.AuthenticationError,
            lambda: OpenAI(base_url=f"{URL}/v1", api_key="kn-wrong").videos.retrieve(video.id))


def delete(video):
    gone = client.videos.delete(video.id)
    assert gone.deleted and gone.id == video.id and gone.object == "video.deleted", gone
    try:
        client.videos.retrieve(video.id)
    except openai.NotFoundError:
        return
    raise AssertionError("the deleted video is still there")


class Receiver(http.server.BaseHTTPRequestHandler):
    """Takes webhooks."""

    def do_POST(self):
        body = self.rfile.read(int(self.headers["content-length"]))
        self.server.received.append((dict(self.headers.items()), body))
        self.server.arrived.set()
        self.send_response(204)
        self.end_headers()

    def log_message(self, *_):
        pass


def webhooks():
    if not hasattr(client, "webhooks"):
        return print("  skipped: this version has no webhooks")
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Receiver)
    server.received, server.arrived = [], threading.Event()
    threading.Thread(target=server.serve_forever, daemon=True).start()
    endpoint = client.post("/webhook_endpoints", cast_to=object, body={
        "name": "test", "url": f"http://127.0.0.1:{server.server_port}/hook",
        "event_types": ["video.completed", "video.failed"]})
    video = finished(client.videos.create(prompt="a red ball", extra_body=SMALL, **CLIP))
    assert server.arrived.wait(30), "no webhook came"
    headers, body = server.received[0]
    event = client.webhooks.unwrap(body.decode(), headers, secret=endpoint["signing_secret"])
    assert event.type == "video.completed" and event.data.id == video.id, event
    client.delete(f"/webhook_endpoints/{endpoint['id']}", cast_to=object)
    server.shutdown()


async def asynchronous():
    async with AsyncOpenAI(base_url=f"{URL}/v1", api_key=KEY) as other:
        video = await other.videos.create_and_poll(
            prompt="a red ball", extra_body=SMALL, poll_interval_ms=200, **CLIP)
        assert video.status == "completed", video
        data = await other.videos.download_content(video.id)
        assert b"ftyp" in data.content[:16]


def main():
    print(f"openai {openai.__version__} (Python)")
    video = create()
    for step in (content, derive, characters, paging, errors):
        print(f"  {step.__name__}")
        step(video)
    for step in (reference, webhooks):
        print(f"  {step.__name__}")
        step()
    print("  asynchronous")
    asyncio.run(asynchronous())
    print("  delete")
    delete(video)


if __name__ == "__main__":
    main()
