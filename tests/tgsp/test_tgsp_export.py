"""`tensafe export`: what is written equals the package, and what can't be is refused."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from export_samples import package_on, random_adapter, set_template, tiny_folder, tiny_package
from rewriting import edited
from safetensors.torch import load

from tensafe.cli import main
from tensafe.errors import ExportRefusedError, ParityError
from tensafe.tgsp.export import export_package
from tensafe.tgsp.export.chat_frame import derive_frame
from tensafe.tgsp.export.gguf_layout import GgufLayout, layout_of
from tensafe.tgsp.export.gguf_tokenizer import split_rule
from tensafe.tgsp.export.modelfile import go_template
from tensafe.tgsp.reader import open_package
from tensafe.tgsp.trust import NOBODY
from tinker_engine.models import load_base
from tinker_engine.recipes.chat_format import PLAIN_TEMPLATE, ChatFormat

CHATML = (
    "{% if messages[0]['role'] != 'system' %}<|im_start|>system\nBe kind.<|im_end|>\n{% endif %}"
    "{% for m in messages %}<|im_start|>{{ m['role'] }}\n{{ m['content'] }}<|im_end|>\n"
    "{% endfor %}{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)


def command(capsys: pytest.CaptureFixture[str], *arguments: object) -> tuple[int, str, str]:
    """Exit code, stdout and stderr of `tensafe` run in this process."""
    capsys.readouterr()
    with pytest.raises(SystemExit) as end:
        main([str(a) for a in arguments])
    captured = capsys.readouterr()
    return int(end.value.code or 0), captured.out, captured.err


def payload_of(package: Path) -> bytes:
    with open_package(package) as opened:
        return bytes(opened.payload)


def test_safetensors_is_a_complete_peft_folder(
    home: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    package, base = tiny_package("llama", tmp_path)
    code, out, _ = command(
        capsys, "export", package, "--format", "safetensors", "--base-model", base, "--json"
    )
    assert code == 0
    result = json.loads(out)
    folder = Path(result["folder"])
    assert folder == tmp_path / "a-safetensors"
    assert {file.name for file in folder.iterdir()} == set(result["files"])
    assert (folder / "adapter_model.safetensors").read_bytes() == payload_of(package)
    for name in ("tokenizer.json", "tokenizer_config.json", "generation_config.json"):
        assert (folder / name).read_bytes() == (base / name).read_bytes()
    config = json.loads((folder / "adapter_config.json").read_text())
    assert (config["r"], config["lora_alpha"], config["fan_in_fan_out"]) == (4, 8, False)
    assert (folder / "SKILL.md").read_text().startswith("---\nname: support-routing")
    for check in result["parity"]:
        assert check["max_difference"] < 1e-4
        assert check["adapter_effect"] > 0.1


@pytest.mark.parametrize("family", ["llama", "gpt2"])
def test_pytorch_files_load_without_running_code(family: str, tmp_path: Path) -> None:
    package, base = tiny_package(family, tmp_path)
    report = export_package(package, "pytorch", NOBODY, base_model=str(base))
    expected = load(payload_of(package))
    whole = torch.load(report.folder / "support-routing.pt", weights_only=True)
    flat = torch.load(report.folder / "adapter_model.bin", weights_only=True)
    for state in (whole["state_dict"], flat):
        assert state.keys() == expected.keys()
        assert all(torch.equal(state[name], expected[name]) for name in expected)
    assert whole["adapter_config"]["fan_in_fan_out"] is (family == "gpt2")
    assert {".pt", ".bin"} <= {check.name for check in report.checks}


@pytest.mark.parametrize("family", ["llama", "llama3-rope", "mistral", "qwen2", "qwen3", "gpt2"])
def test_gguf_round_trips_with_base_and_modelfile(family: str, tmp_path: Path) -> None:
    package, base = tiny_package(family, tmp_path)
    report = export_package(package, "gguf", NOBODY, base_model=str(base))
    assert report.remarks.left_out == {}
    assert {"support-routing-lora.gguf", f"{family}-base.gguf", "Modelfile"} <= set(report.files)
    (check,) = report.checks
    assert check.max_difference < 1e-4
    assert check.adapter_effect > 0.1
    lines = (report.folder / "Modelfile").read_text().splitlines()
    assert lines[:2] == [f"FROM ./{family}-base.gguf", "ADAPTER ./support-routing-lora.gguf"]
    assert 'PARAMETER stop "<|end|>"' in lines


def test_gguf_is_what_llama_cpp_reads(tmp_path: Path) -> None:
    """Names, shapes and settings as llama.cpp's loader demands them."""
    import gguf

    package, base = tiny_package("llama", tmp_path)
    report = export_package(package, "gguf", NOBODY, base_model=str(base))
    reader: Any = gguf.GGUFReader(report.folder / "support-routing-lora.gguf")
    values = {name: field.contents() for name, field in reader.fields.items()}
    assert values["general.type"] == "adapter"
    assert values["general.architecture"] == "llama"
    assert values["adapter.type"] == "lora"
    assert values["adapter.lora.alpha"] == 8.0
    shapes = {tensor.name: tuple(tensor.data.shape) for tensor in reader.tensors}
    assert len(shapes) == 2 * 2 * 7
    assert shapes["blk.1.attn_k.weight.lora_a"] == (4, 32)
    assert shapes["blk.1.attn_k.weight.lora_b"] == (16, 4)
    whole: Any = gguf.GGUFReader(report.folder / "llama-base.gguf")
    values = {name: field.contents() for name, field in whole.fields.items()}
    assert values["tokenizer.ggml.model"] == "gpt2"
    assert values["tokenizer.ggml.pre"] == "gpt-2"
    assert values["tokenizer.ggml.add_bos_token"] is False
    assert values["tokenizer.ggml.eos_token_id"] == 1
    assert values["tokenizer.ggml.tokens"][:2] == ["<|pad|>", "<|end|>"]
    assert values["tokenizer.chat_template"] == ChatFormat(load_base(str(base)).tokenizer).template


def test_row_order_gives_llama_cpp_the_same_attention_scores(tmp_path: Path) -> None:
    """llama.cpp turns neighbouring rows, transformers rows half a head apart."""
    layout = layout_of(load_base(str(tiny_folder("llama", tmp_path / "base"))))
    size, heads = 8, 4
    rng = np.random.default_rng(3)
    q, k = rng.normal(size=(2, heads * size)).astype(np.float32)
    angles = 10000.0 ** -(np.arange(size // 2) / (size // 2))

    def turned(vector: np.ndarray, place: int, *, neighbours: bool) -> np.ndarray:
        parts = vector.reshape(heads, size)
        first, second = (
            (parts[:, 0::2], parts[:, 1::2])
            if neighbours
            else (parts[:, : size // 2], parts[:, size // 2 :])
        )
        cos, sin = np.cos(place * angles), np.sin(place * angles)
        return np.concatenate([first * cos - second * sin, second * cos + first * sin], axis=1)

    ours = (turned(q, 5, neighbours=False) * turned(k, 2, neighbours=False)).sum(axis=1)
    moved_q = layout.to_gguf("model.layers.0.self_attn.q_proj", q[:, None])[:, 0]
    # The same number of heads, so the order of q rows serves for k here.
    moved_k = layout.to_gguf("model.layers.0.self_attn.q_proj", k[:, None])[:, 0]
    theirs = (turned(moved_q, 5, neighbours=True) * turned(moved_k, 2, neighbours=True)).sum(axis=1)
    np.testing.assert_allclose(theirs, ours, rtol=1e-4, atol=1e-5)
    unmoved = (turned(q, 5, neighbours=True) * turned(k, 2, neighbours=True)).sum(axis=1)
    assert np.abs(unmoved - ours).max() > 0.1


@pytest.mark.parametrize(
    ("family", "reason"),
    [("window", "window of 8 tokens"), ("gelu-gpt2", "gelu_new")],
)
def test_a_base_that_llama_cpp_computes_otherwise_is_left_out(
    family: str, reason: str, tmp_path: Path
) -> None:
    package, base = tiny_package(family, tmp_path)
    report = export_package(package, "gguf", NOBODY, base_model=str(base))
    assert reason in report.remarks.left_out[f"{family}-base.gguf"]
    assert "Modelfile" in report.remarks.left_out
    assert report.files == ("SKILL.md", "export.json", "support-routing-lora.gguf")
    assert report.checks[0].max_difference < 1e-4


def test_what_gguf_cannot_express_is_refused_by_name(tmp_path: Path) -> None:
    package, base = tiny_package("tied-llama", tmp_path, targets=("q_proj", "lm_head"))
    with pytest.raises(ExportRefusedError, match=r"tensor lm_head\.weight"):
        export_package(package, "gguf", NOBODY, base_model=str(base))
    assert not (tmp_path / "a-gguf").exists()
    package, base = tiny_package("gemma", tmp_path)
    with pytest.raises(ExportRefusedError, match="gemma"):
        export_package(package, "gguf", NOBODY, base_model=str(base))
    report = export_package(package, "safetensors", NOBODY, base_model=str(base))
    assert report.checks[0].max_difference < 1e-4


def test_tensors_of_another_base_are_refused_by_name(tmp_path: Path) -> None:
    base = load_base(str(tiny_folder("llama", tmp_path / "base")))
    other = load_base(str(tiny_folder("qwen3", tmp_path / "other")))
    package = package_on(base, tmp_path / "a.tgsp", payload=random_adapter(other))
    with pytest.raises(ExportRefusedError, match=r"layers\.0\.self_attn\.[kq]_proj"):
        export_package(package, "safetensors", NOBODY, base_model=base.info.path)


def test_changed_packages_and_wrong_bases_exit_4(
    home: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    package, base = tiny_package("llama", tmp_path)
    options = ("--format", "safetensors", "--base-model", base)
    whole = package.read_bytes()
    for changed in (whole[:-1] + b"\0", edited(whole, lambda m: m.update(name="other")), b"TGSP"):
        package.write_bytes(changed)
        assert command(capsys, "export", package, *options)[0] == 4
    package.write_bytes(whole)
    assert command(capsys, "export", package, *options, "--require-trusted")[0] == 4
    other = tiny_folder("tied-llama", tmp_path / "other")
    code, _, err = command(capsys, "export", package, "--format", "gguf", "--base-model", other)
    assert code == 4
    assert "base_weights" in err
    set_template(base, PLAIN_TEMPLATE)
    code, _, err = command(capsys, "export", package, *options)
    assert code == 4
    assert [p.name for p in tmp_path.iterdir() if "safetensors" in p.name or "gguf" in p.name] == []


def test_usage_errors_exit_2(
    home: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    package, base = tiny_package("llama", tmp_path)
    code, _, err = command(capsys, "export", package, "--format", "gguf")
    assert code == 2
    assert "--base-model" in err
    full = tmp_path / "full"
    full.mkdir()
    (full / "mine.txt").write_text("keep")
    options = ("--base-model", base, "--out", full)
    assert command(capsys, "export", package, "--format", "gguf", *options)[0] == 2
    assert [file.name for file in full.iterdir()] == ["mine.txt"]
    assert command(capsys, "export", package, "--format", "onnx")[0] == 2


def test_a_file_that_computes_something_else_leaves_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With the row order forgotten in writing, reading back must notice."""
    package, base = tiny_package("llama", tmp_path)
    monkeypatch.setattr(GgufLayout, "to_gguf", lambda self, name, rows: rows)
    with pytest.raises(ParityError, match="differ"):
        export_package(package, "gguf", NOBODY, base_model=str(base))
    assert {path.name for path in tmp_path.iterdir()} == {"a.tgsp", "llama-base"}


@pytest.mark.parametrize(
    "template", [None, CHATML, "{% for m in messages %}[{{ m['role'] }}]{{ m['content'] }}"]
)
def test_frames_render_as_the_template(template: str | None) -> None:
    tokenizer = load_base("nano").tokenizer
    if template is not None:
        tokenizer.chat_template = template + ("" if "endfor" in template else "{% endfor %}")
    chat = ChatFormat(tokenizer)
    frame = derive_frame(chat)
    turns: Any = [
        {"role": "system", "content": "Answer with a team."},
        {"role": "user", "content": "My bike is broken."},
        {"role": "assistant", "content": "Repair"},
        {"role": "user", "content": "And my {brake}?"},
    ]
    for messages in (turns, turns[1:], turns[1:2]):
        rendered = tokenizer.apply_chat_template(
            messages, tokenize=False, add_generation_prompt=True
        )
        assert frame.render(messages) == rendered
    assert ('{{ if ne (index .Messages 0).Role "system" }}' in go_template(frame)) is (
        template == CHATML
    )


def test_templates_beyond_fixed_texts_are_refused() -> None:
    tokenizer = load_base("nano").tokenizer
    tokenizer.chat_template = (
        "{% for m in messages %}<{{ loop.index }}>{{ m['role'] }}{{ m['content'] }}{% endfor %}"
    )
    with pytest.raises(ExportRefusedError, match="fixed texts"):
        derive_frame(ChatFormat(tokenizer))


def test_a_plain_base_gets_the_recipes_template(tmp_path: Path) -> None:
    folder = tiny_folder("gpt2", tmp_path / "base")
    set_template(folder, None)
    base = load_base(str(folder))
    package = package_on(base, tmp_path / "a.tgsp", payload=random_adapter(base))
    report = export_package(package, "safetensors", NOBODY, base_model=str(folder))
    assert (report.folder / "chat_template.jinja").read_text() == PLAIN_TEMPLATE


def test_split_rules_are_found_by_trial(tmp_path: Path) -> None:
    folder = tiny_folder("llama", tmp_path / "base")
    path = folder / "tokenizer.json"
    assert split_rule(load_base(str(folder)), path) == "gpt-2"
    content = json.loads(path.read_text())
    pattern = content["pre_tokenizer"]["pretokenizers"][0]["pattern"]
    pattern["Regex"] = (
        r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*"
        r"|\s*[\r\n]+|\s+(?!\S)|\s+"
    )
    path.write_text(json.dumps(content))
    assert split_rule(load_base(str(folder)), path) == "qwen2"
    pattern["Regex"] = r"\w{2}|."
    path.write_text(json.dumps(content))
    with pytest.raises(ExportRefusedError, match="tokenizes like it"):
        split_rule(load_base(str(folder)), path)


def test_real_bases_without_byte_level_tokens_keep_the_adapter(
    shared_data: Path, tmp_path: Path
) -> None:
    folder = shared_data / "models" / "llama2xs-280K-hf"
    base = load_base(str(folder))
    package = package_on(base, tmp_path / "a.tgsp", payload=random_adapter(base))
    report = export_package(package, "gguf", NOBODY, base_model=str(folder))
    assert "byte-level BPE" in report.remarks.left_out["llama2xs-280K-hf.gguf"]
    assert report.checks[0].max_difference < 1e-4


@pytest.mark.peer
@pytest.mark.parametrize("family", ["llama", "gpt2"])
def test_peft_loads_both_folders(family: str, tmp_path: Path) -> None:
    """Peer: PEFT itself gives the package's logits."""
    pytest.importorskip("peft")
    package, base = tiny_package(family, tmp_path)
    for name, label in (("safetensors", "safetensors in PEFT"), ("pytorch", ".bin in PEFT")):
        report = export_package(package, name, NOBODY, base_model=str(base))  # type: ignore[arg-type]
        (check,) = (check for check in report.checks if check.name == label)
        assert check.max_difference < 1e-4


def test_the_command_is_light() -> None:
    code = (
        "import sys, tensafe.tgsp.export, tensafe.cli.export\n"
        "sys.exit(any(m in sys.modules for m in ('torch', 'transformers', 'gguf')))"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_nano_needs_no_base_option(tmp_path: Path) -> None:
    base = load_base("nano")
    package = package_on(base, tmp_path / "a.tgsp", payload=random_adapter(base))
    out = tmp_path / "out"
    out.mkdir()
    report = export_package(package, "gguf", NOBODY, out=out)
    assert report.folder == out
    assert report.remarks.left_out == {}
    assert "numerals" in report.remarks.notes[0]
    assert {"nano.gguf", "Modelfile"} <= set(report.files)
