"""Listing and converting weights."""

from __future__ import annotations

import hashlib

import pytest
import torch

from cnnfast.weights import load_vgg


def test_none_found(cnnfast):
    result = cnnfast("weights")
    assert result.status == 0 and result.out.startswith("No VGG weights found") and "CNNFAST_VGG" in result.out


def test_list(cnnfast, monkeypatch, tiny_vgg):
    monkeypatch.setenv("CNNFAST_VGG", str(tiny_vgg))
    result = cnnfast("weights")
    assert result.status == 0 and not result.err
    digest = hashlib.sha256(tiny_vgg.read_bytes()).hexdigest()
    for words in (str(tiny_vgg), "vgg16", "torchvision", "licence", digest):
        assert words in result.out


def test_convert(cnnfast, vgg_state, tmp_path):
    torch.save(vgg_state, tmp_path / "a.pth")
    result = cnnfast("weights", "convert", "a.pth", "b.safetensors", "--preprocessing", "caffe")
    assert result.status == 0 and result.out.startswith("b.safetensors: vgg16, input caffe")
    converted = load_vgg(tmp_path / "b.safetensors")
    assert converted.preprocessing == "caffe"
    assert torch.equal(converted.state["conv1_1"][0], vgg_state["features.0.weight"])


@pytest.mark.parametrize(
    "arguments, words",
    [
        (["a.pth", "b.safetensors"], "pass preprocessing="),
        (["a.pth", "b.safetensors", "--preprocessing", "rgb"], "got 'rgb'"),
        (["a.pth", "b.bin", "--preprocessing", "caffe"], "ending in .safetensors, got b.bin"),
        (["a.pth", "none/b.safetensors", "--preprocessing", "caffe"], "No such folder"),
        (["a.pth", ".", "--preprocessing", "caffe"], "Is a directory"),
        (["a.pth", "a.pth", "--preprocessing", "caffe"], "not also another file of this call"),
        (["none.pth", "b.safetensors"], "none.pth which does not exist"),
        (["other.pth", "b.safetensors", "--preprocessing", "caffe"], "which no VGG-16 or VGG-19 has"),
    ],
)
def test_refused(cnnfast, vgg_state, tmp_path, arguments, words):
    torch.save(vgg_state, tmp_path / "a.pth")
    torch.save({"layer1.0.conv1.weight": torch.zeros(2, 2)}, tmp_path / "other.pth")
    (tmp_path / "b.safetensors").write_text("old")
    before = (tmp_path / "a.pth").read_bytes()
    result = cnnfast("weights", "convert", *arguments)
    assert result.status == 2 and result.err.count("\n") == 1 and words in result.err
    assert (tmp_path / "b.safetensors").read_text() == "old" and (tmp_path / "a.pth").read_bytes() == before
    assert len(list(tmp_path.iterdir())) == 3


def test_bad_environment(cnnfast, monkeypatch):
    monkeypatch.setenv("CNNFAST_VGG", "none.pth")
    result = cnnfast("weights")
    assert result.status == 2 and "CNNFAST_VGG" in result.err
