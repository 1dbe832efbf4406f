"""LiteLLM drives the Videos API against a running Kinora.

Usage: KINORA_URL=http://127.0.0.1:8000 KINORA_KEY=kn-... python litellm_python.py
"""

import io
import os
import time

# Prices of models come with the package; nothing is fetched.
os.environ.setdefault("LITELLM_LOCAL_MODEL_COST_MAP", "True")

import litellm

WHERE = {
    "api_base": f"{os.environ['KINORA_URL']}/v1",
    "api_key": os.environ["KINORA_KEY"],
    "custom_llm_provider": "openai",
}
SMALL = {"num_inference_steps": 2, "seed": 7}


def finished(video):
    while video.status not in ("completed", "failed"):
        time.sleep(0.2)
        video = litellm.video_status(video_id=video.id, **WHERE)
    assert video.status == "completed", video
    return video


def main():
    print("litellm")
    made = litellm.video_generation(
        prompt="a red ball rolls over grass", model="openai/sora-2", seconds="1", size="128x128", extra_body=SMALL, **WHERE)
    video = finished(made)
    assert video.size == "128x128" and video.seconds == "1", video

    print("  content")
    data = litellm.video_content(video_id=video.id, **WHERE)
    assert b"ftyp" in data[:16]
    assert b"WEBP" in litellm.video_content(video_id=video.id, variant="thumbnail", **WHERE)[:16]

    print("  remix, edit, extension")
    finished(litellm.video_remix(video_id=video.id, prompt="a blue ball", extra_body=SMALL, **WHERE))
    finished(litellm.video_edit(video_id=video.id, prompt="a green ball", extra_body=SMALL, **WHERE))
    finished(litellm.video_extension(video_id=video.id, prompt="it goes on", seconds="1", extra_body=SMALL, **WHERE))

    print("  characters")
    character = litellm.video_create_character(name="Mossy", video=io.BytesIO(data), **WHERE)
    found = litellm.video_get_character(character_id=character.id, **WHERE)
    assert found.name == "Mossy" and found.object == "character", found

    print("  list")
    listed = litellm.video_list(limit=2, **WHERE)
    assert len(list(listed)) >= 2


if __name__ == "__main__":
    main()
