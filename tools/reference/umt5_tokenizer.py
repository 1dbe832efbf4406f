"""umt5_tokenizer: two small sentencepiece unigram models, and the ids that sentencepiece gives prompts in many languages.

`spiece_model` is like umT5's (pad 0, end 1, byte fallback, nmt_nfkc), named as in ComfyUI's files; `plain_model` has
everything the other way round: no byte fallback, no character map, spaces kept, no space in front, symbols of the user.
The vocabulary of umT5 itself is in no package. Ids are those of `SentencePieceProcessor`, without the end token. What
transformers' `T5Tokenizer` makes of the first model is compared here: the same wherever no character is unknown (that
class has no byte fallback) and no special token is spelled out.
"""

import io
import json
import logging

import numpy
import sentencepiece
import torch
from transformers import T5Tokenizer

import goldens

SEED = 20
TEXTS = {
    "en": """A red ball rolls over green grass while a small dog runs after it. The camera slowly moves to the left and
shows a house near the river. Two people walk along the beach at sunset, the sky is orange and purple. A close-up of a
woman smiling in soft light, shallow depth of field, cinematic, highly detailed. An astronaut floats in outer space above
the earth. Snow falls on the mountains and the forest is quiet. A cat plays the piano on a stage. The old car drives
through the city at night, neon lights are reflected in the rain. Slow motion shot of waves that break on the rocks.""",
    "de": """Ein roter Ball rollt über die grüne Wiese, und ein kleiner Hund läuft ihm nach. Die Kamera bewegt sich langsam
nach links und zeigt ein Haus am Fluss. Zwei Menschen gehen bei Sonnenuntergang am Strand entlang. Süße Äpfel und große
Bäume stehen vor der Tür. Der Zug fährt durch die verschneiten Berge.""",
    "fr": """Une balle rouge roule sur l'herbe verte et un petit chien court après elle. La caméra se déplace lentement vers
la gauche. Deux personnes marchent sur la plage au coucher du soleil. Un café très élégant à Paris, la nuit.""",
    "es": """Una pelota roja rueda sobre la hierba verde y un perro pequeño corre detrás. La cámara se mueve despacio hacia
la izquierda. El niño y la niña juegan en el jardín por la mañana.""",
    "ru": """Красный мяч катится по зелёной траве, а маленькая собака бежит за ним. Камера медленно движется влево и
показывает дом у реки. Кошка играет на пианино. Снег падает на горы.""",
    "zh": """一只猫在弹钢琴,阳光照在木地板上。红色的球在绿色的草地上滚动,一只小狗在后面跑。镜头慢慢向左移动,
画面中有一座靠近河边的房子。色调艳丽,过曝,静态,细节模糊不清,字幕,风格,作品,画作,画面,静止,整体发灰,最差质量,
低质量,压缩残留,丑陋的,残缺的,多余的手指,画得不好的手部,画得不好的脸部,畸形的,毁容的,形态畸形的肢体,手指融合,
静止不动的画面,杂乱的背景,三条腿,背景人很多,倒着走。""",
    "ja": """赤いボールが緑の芝生の上を転がり、小さな犬が追いかけます。カメラはゆっくり左に動きます。東京タワーの上を
ドラゴンが飛んでいます。雪が山に降っています。""",
    "ko": """빨간 공이 푸른 잔디 위를 굴러가고 작은 개가 뒤따라 달립니다. 고양이가 피아노를 칩니다. 눈이 산에 내립니다.""",
    "ar": """كرة حمراء تتدحرج على العشب الأخضر وكلب صغير يركض خلفها. القطة تعزف على البيانو. الثلج يتساقط على الجبال.""",
    "hi": """एक लाल गेंद हरी घास पर लुढ़कती है और एक छोटा कुत्ता उसके पीछे दौड़ता है। बिल्ली पियानो बजाती है।""",
}
NEGATIVE = (
    "色调艳丽，过曝，静态，细节模糊不清，字幕，风格，作品，画作，画面，静止，整体发灰，最差质量，低质量，JPEG压缩残留，"
    "丑陋的，残缺的，多余的手指，画得不好的手部，画得不好的脸部，畸形的，毁容的，形态畸形的肢体，手指融合，静止不动的画面，"
    "杂乱的背景，三条腿，背景人很多，倒着走"
)
PROMPTS = [
    "",
    " ",
    "a",
    "A red ball rolls over grass.",
    "two dogs run along the beach at sunset, cinematic, highly detailed",
    NEGATIVE,
    NEGATIVE.replace("，", ", "),
    "一只猫在弹钢琴，阳光",
    "Ein kleiner Hund läuft über die große Wiese.",
    "un café très élégant à Paris",
    "el niño juega en el jardín por la mañana",
    "Кошка бежит по зелёной траве",
    "東京タワーの上を飛ぶドラゴン",
    "ｶﾀｶﾅ half width, ガ composed カ\u3099",
    "고양이가 달립니다",
    "\u1100\u1161\u11a8 conjoining jamo",
    "القطة تركض على العشب",
    "बिल्ली दौड़ती है",
    "חתול רץ על הדשא",
    "แมววิ่งบนสนามหญ้า",
    "a cat 🐈 and a rocket 🚀🚀",
    "👩\u200d🚀 family 👨\u200d👩\u200d👧 flag 🇫🇷",
    "  leading,   double   and trailing spaces  ",
    "line one\nline two\ttabbed\r\nand the end\n",
    "zero\u200bwidth\u200djoiner, soft\u00adhyphen, \u00a0no-break\u00a0space, \ufeffmark",
    "Ｆｕｌｌｗｉｄｔｈ ﬁ ligatures ①②③ ½ ™ Ⅳ …",
    "cafe\u0301 with a combining accent, e\u0302\u0323 with two, q\u0307\u0323 without a composed form",
    "“curly” ‘quotes’ — dash – and «others»",
    "3840x2160, 24 fps, f/1.8, 50mm; 16:9 @ 100%",
    "UPPER CASE and CamelCase and snake_case",
    "antidisestablishmentarianism supercalifragilisticexpialidocious",
    "\x07 bell \x1b[31m colour \x7f delete \x00 zero",
    "▁ marks ▁▁ of its own",
    "<0x41> bytes spelled out <0xE2>",
    "</s> and <pad> and <unk> spelled out",
    "<extra_id_0> sentinel",
    "中文 mixed with English and русский",
    "ﷺ one character of eighteen",
    "\u3000ideographic\u3000space\u3000",
    "∀x∈ℝ: x²≥0 ∑ ∞ √2",
    "𝔉𝔯𝔞𝔨𝔱𝔲𝔯 𝒮𝒸𝓇𝒾𝓅𝓉",
    "a" * 60,
    "[shot] wide [/shot][shot]  close",
    "x [cut]y",
]


def train(**options):
    """A model of all texts; one thread, so that sums are always split alike."""
    lines = [line for text in TEXTS.values() for line in " ".join(text.split("\n")).replace(". ", ".\n").split("\n")]
    model = io.BytesIO()
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter(lines),
        model_writer=model,
        model_type="unigram",
        num_threads=1,
        character_coverage=1.0,
        hard_vocab_limit=False,
        pad_id=0,
        eos_id=1,
        unk_id=2,
        bos_id=-1,
        minloglevel=2,
        **options,
    )
    return model.getvalue()


def main():
    goldens.seeded(SEED)
    logging.disable(logging.WARNING)
    models = {
        "spiece_model": train(vocab_size=1500, byte_fallback=True, normalization_rule_name="nmt_nfkc"),
        "plain_model": train(
            vocab_size=700,
            byte_fallback=False,
            normalization_rule_name="identity",
            remove_extra_whitespaces=False,
            add_dummy_prefix=False,
            user_defined_symbols=["[shot]", "[/shot]", "[cut]", "[cut]y"],
        ),
    }
    assert len(models["spiece_model"]) < 300_000
    processors = {name: sentencepiece.SentencePieceProcessor(model_proto=model) for name, model in models.items()}
    cases = [{"prompt": p} | {name: sp.encode(p) for name, sp in processors.items()} for p in PROMPTS]

    sp = processors["spiece_model"]
    byte_ids = {sp.piece_to_id(f"<0x{byte:02X}>") for byte in range(256)}
    pieces = [(sp.id_to_piece(i), sp.get_score(i)) for i in range(sp.get_piece_size())]
    charsmap = normalizer_charsmap(models["spiece_model"])
    fast = T5Tokenizer(vocab=pieces, _spm_precompiled_charsmap=charsmap, extra_ids=0)
    same = different = 0
    for case in cases:
        ids = case["spiece_model"]
        if byte_ids & set(ids) or "<" in case["prompt"] or "▁" in case["prompt"]:
            continue
        if fast(case["prompt"])["input_ids"] == ids + [1]:
            same += 1
        else:
            different += 1
            print("transformers differs:", repr(case["prompt"]), fast(case["prompt"])["input_ids"], ids)
    print(f"{same} prompts as in transformers' T5Tokenizer, {different} not")
    assert any(byte_ids & set(case["spiece_model"]) for case in cases)
    assert any(2 in case["plain_model"] for case in cases)

    tensors = {n: torch.from_numpy(numpy.frombuffer(m, dtype=numpy.uint8).copy()) for n, m in models.items()}
    meta = {"cases": json.dumps(cases, ensure_ascii=False)}
    goldens.write("kinora-models", "umt5_tokenizer", tensors, __file__, SEED, ["sentencepiece", "transformers"], 0.0, meta)
    print({name: (len(model), processors[name].get_piece_size()) for name, model in models.items()})


def normalizer_charsmap(model):
    """Field 2 of field 3 of the model file."""

    def fields(data):
        at = 0

        def varint():
            nonlocal at
            value = shift = 0
            while True:
                byte = data[at]
                at += 1
                value |= (byte & 127) << shift
                shift += 7
                if byte < 128:
                    return value

        while at < len(data):
            key = varint()
            if key & 7 == 0:
                yield key >> 3, varint()
            else:
                length = {1: 8, 5: 4}.get(key & 7) or varint()
                yield key >> 3, data[at : at + length]
                at += length

    spec = next(value for field, value in fields(model) if field == 3)
    return bytes(next(value for field, value in fields(spec) if field == 2))


if __name__ == "__main__":
    main()
