"""Augmentations: each against a slow oracle, and what all of them must keep."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor
from torch.func import vmap

from fedsam import InputError, Run
from fedsam.config import names, resolve
from fedsam.data.augment.base import Augment, Draws
from fedsam.data.augment.crop_flip import CropFlip
from fedsam.data.augment.cutout import Cutout
from fedsam.data.augment.mixup import Mixup
from fedsam.data.augment.none import NoAugment
from fedsam.data.augment.smoothing import Smoothing
from fedsam.data.digits import Digits
from fedsam.data.images.spec import ImageSpec
from fedsam.federated.simulate import simulate
from fedsam.rng import stream

ALL = [
    *names(Augment),
    {"name": "crop_flip", "crop_padding": 1},
    {"name": "cutout", "cutout_size": 5, "cutout_after": "none"},
    {"name": "cutout", "cutout_size": 3, "cutout_after": "mixup", "mixup_alpha": 0.4},
    {"name": "mixup", "mixup_after": "cutout"},
    {"name": "colour_jitter", "jitter_after": "scale_crop", "scale_least": 0.7},
    {"name": "smoothing", "smoothing_after": "mixup", "smoothing_over": "other"},
]
BATCH, HEIGHT, WIDTH, CHANNELS, CLASSES = 7, 12, 10, 3, 4
SPEC = ImageSpec(CLASSES, (4, 5, 3), (120 / 255,) * 3, (60 / 255,) * 3)
NONE = torch.zeros(0)


def drawn(augment: Augment, count_T: list[int], seed: int = 0, client: int = 0) -> Draws:
    rng = stream(seed, "augment", round=3, client=client)
    return augment.draw(rng, np.array(count_T), BATCH, (HEIGHT, WIDTH))


def step(draws: Draws, t: int = 0) -> dict[str, Tensor]:
    return {name: torch.from_numpy(array[t]) for name, array in draws.items()}


def stored(batch: int = BATCH, seed: int = 1, shape: tuple[int, int, int] = (HEIGHT, WIDTH, CHANNELS)) -> Tensor:
    return torch.from_numpy(stream(seed, "images").integers(1, 256, size=(batch, *shape), dtype=np.uint8))


def normalised(images_BHWC: Tensor, dtype: torch.dtype = torch.float64) -> Tensor:
    return ((images_BHWC.to(dtype) - 120) / 60).permute(0, 3, 1, 2)


def labels(batch: int = BATCH) -> Tensor:
    return torch.from_numpy(stream(2, "labels").integers(CLASSES, size=batch))


def applied(
    augment: Augment, images_BHWC: Tensor, targets: Tensor, draws: dict[str, Tensor], dtype: torch.dtype = torch.float64
) -> tuple[Tensor, Tensor]:
    return augment.prepared(normalised(augment.stored(images_BHWC, targets, draws)[0], dtype), targets, SPEC, draws)


# crop and flip


def cropped_slowly(image_HWC: np.ndarray, pad: int, down: int, across: int, mirrored: bool) -> np.ndarray:
    height, width, _ = image_HWC.shape
    cut = np.pad(image_HWC, ((pad, pad), (pad, pad), (0, 0)))[down : down + height, across : across + width]
    return cut[:, ::-1] if mirrored else cut


@pytest.mark.parametrize("shape", [(6, 9, 3), (8, 8, 1), (1, 1, 2)])
@pytest.mark.parametrize("pad", [0, 1, 4, 11])
def test_crop_flip_equals_pad_slice_and_mirror_at_every_offset(shape: tuple[int, int, int], pad: int) -> None:
    every = [(down, across, m) for down in range(2 * pad + 1) for across in range(2 * pad + 1) for m in (False, True)]
    images = stored(len(every), shape=shape)
    draws = {
        "crop_offset": torch.tensor([(down, across) for down, across, _ in every]),
        "crop_mirror": torch.tensor([mirrored for _, _, mirrored in every]),
    }
    cut = CropFlip(crop_padding=pad).stored(images, NONE, draws)[0]
    assert cut.dtype == torch.uint8
    for image, got, (down, across, mirrored) in zip(images.numpy(), cut.numpy(), every, strict=True):
        np.testing.assert_array_equal(got, cropped_slowly(image, pad, down, across, mirrored))


def test_crop_flip_equals_torchvision_on_the_same_draws() -> None:
    from torchvision.transforms import functional as transforms

    draws = drawn(CropFlip(), [BATCH] * 5)
    for t in range(5):
        images = stored(seed=t)
        got = CropFlip().stored(images, NONE, step(draws, t))[0].permute(0, 3, 1, 2)
        for b in range(BATCH):
            down, across = draws["crop_offset"][t, b].tolist()
            one = transforms.crop(transforms.pad(images[b].permute(2, 0, 1), [4]), down, across, HEIGHT, WIDTH)
            one = transforms.hflip(one) if draws["crop_mirror"][t, b] else one
            assert torch.equal(got[b], one)


def test_crop_offsets_and_mirrors_are_uniform_and_independent() -> None:
    draws = CropFlip(crop_padding=1).draw(stream(5, "augment"), np.full(200, 64), 64, (8, 8))
    down, across = draws["crop_offset"].reshape(-1, 2).T
    joint = np.bincount(down * 6 + across * 2 + draws["crop_mirror"].reshape(-1), minlength=18)
    expected = 200 * 64 / 18
    assert len(joint) == 18
    mirrored_T = draws["crop_mirror"].sum(axis=1)
    assert mirrored_T.var() < 2 * 16, "each sample by itself: the variance is 64 / 4"
    assert ((joint - expected) ** 2 / expected).sum() < 40.8  # chi-square, 17 degrees of freedom, 0.1 %


# cutout


@pytest.mark.parametrize("size", [1, 2, 5, 8, 16, 40])
def test_cutout_equals_a_loop_over_pixels(size: int) -> None:
    augment = resolve(Augment, {"name": "cutout", "cutout_size": size, "cutout_after": "none"})
    draws = drawn(augment, [BATCH])
    inputs = normalised(stored())
    got, targets = augment.prepared(inputs, labels(), SPEC, step(draws))
    expected = inputs.clone()
    for b in range(BATCH):
        row, column = draws["cutout_centre"][0, b].tolist()
        for h in range(HEIGHT):
            for w in range(WIDTH):
                if 0 <= h - (row - size // 2) < size and 0 <= w - (column - size // 2) < size:
                    expected[b, :, h, w] = 0.0
    assert torch.equal(got, expected)
    assert torch.equal(targets, labels())


def test_a_hole_of_even_size_is_that_of_the_paper() -> None:
    """DeVries and Taylor: rows and columns from centre − size / 2 up to, not including, centre + size / 2, clipped."""
    inputs = torch.ones(HEIGHT * WIDTH, 1, HEIGHT, WIDTH)
    centres = torch.cartesian_prod(torch.arange(HEIGHT), torch.arange(WIDTH))
    got, _ = Cutout(cutout_size=6).prepared(inputs, labels(len(inputs)), SPEC, {"cutout_centre": centres})
    for image, (row, column) in zip(got, centres.tolist(), strict=True):
        mask = np.ones((HEIGHT, WIDTH))
        mask[max(row - 3, 0) : row + 3, max(column - 3, 0) : column + 3] = 0
        np.testing.assert_array_equal(image[0].numpy(), mask)


def test_centres_are_uniform_over_the_whole_image() -> None:
    centres = Cutout().draw(stream(1, "augment"), np.full(100, 60), 60, (4, 5))["cutout_centre"].reshape(-1, 2)
    joint = np.bincount(centres[:, 0] * 5 + centres[:, 1], minlength=20)
    assert len(joint) == 20
    assert ((joint - 300.0) ** 2 / 300).sum() < 43.8  # 19 degrees of freedom, 0.1 %


# smoothing


def test_smoothing_over_all_classes_is_torchs() -> None:
    augment = Smoothing(label_smoothing=0.3, smoothing_after=NoAugment())
    inputs, targets = applied(augment, stored(), labels(), {})
    assert torch.equal(inputs, normalised(stored()))
    logits = torch.randn(BATCH, CLASSES, generator=torch.Generator().manual_seed(5), dtype=torch.float64)
    expected = torch.nn.functional.cross_entropy(logits, labels(), label_smoothing=0.3)
    found = -(targets * logits.log_softmax(dim=1)).sum(dim=1).mean()
    torch.testing.assert_close(found, expected, rtol=1e-12, atol=0)


def test_smoothing_over_the_other_classes_by_hand() -> None:
    augment = Smoothing(label_smoothing=0.3, smoothing_over="other", smoothing_after=NoAugment())
    _, targets = applied(augment, stored(), labels(), {})
    for row, label in zip(targets.tolist(), labels().tolist(), strict=True):
        assert row == pytest.approx([0.7 if k == label else 0.3 / (CLASSES - 1) for k in range(CLASSES)])


@pytest.mark.parametrize("over", ["all", "other"])
def test_mixed_targets_are_smoothed_as_the_mixture_of_smoothed_ones(over: Any) -> None:
    draws = step(drawn(Mixup(), [BATCH]))
    smooth = Smoothing(label_smoothing=0.2, smoothing_over=over, smoothing_after=NoAugment())
    _, own = applied(smooth, stored(), labels(), draws)
    _, expected = Mixup(mixup_after=NoAugment()).prepared(normalised(stored()), own, SPEC, draws)
    _, found = applied(smooth.replace(smoothing_after=Mixup()), stored(), labels(), draws)
    torch.testing.assert_close(found, expected, rtol=1e-12, atol=1e-15)


def test_evaluation_is_not_smoothed_and_training_is() -> None:
    tiny = {"data.samples_per_client": 8, "data.clients": 1, "data.partition": "iid", "cohort": 1, "rounds": 1}
    tiny |= {"client.lr": 1e-12, "client.epochs": 1, "data.smoothing_after": "none", "engine.name": "loop"}
    found = {}
    for smoothing in (0.0, 0.5):
        run = Run.from_keys(tiny | {"data.augment": "smoothing", "data.label_smoothing": smoothing})
        found[smoothing] = simulate(run).metrics[-1]
    assert found[0.5]["test_loss"] == pytest.approx(found[0.0]["test_loss"], rel=1e-6)
    assert abs(found[0.5]["train_loss"] - found[0.0]["train_loss"]) > 1e-3


# mixup


@pytest.mark.parametrize("count", [BATCH, 4, 1])
def test_mixup_equals_a_loop_over_samples(count: int) -> None:
    augment = resolve(Augment, {"name": "mixup", "mixup_after": "none"})
    draws = drawn(augment, [count])
    inputs, classes = normalised(stored()), labels()
    got, targets = augment.prepared(inputs, classes, SPEC, step(draws))
    assert targets.shape == (BATCH, CLASSES)
    for b in range(BATCH):
        share, partner = float(draws["mixup_lambda"][0, b]), int(draws["mixup_partner"][0, b])
        one_hot, other = (np.eye(CLASSES)[int(classes[k])] for k in (b, partner))
        np.testing.assert_allclose(got[b], share * inputs[b] + (1 - share) * inputs[partner], rtol=0, atol=1e-14)
        np.testing.assert_allclose(targets[b], share * one_hot + (1 - share) * other, rtol=0, atol=1e-15)
        assert 0 < share < 1


def test_mixup_at_its_limits() -> None:
    inputs, classes = normalised(stored()), labels()
    turned = torch.arange(BATCH).roll(1)
    for share, kept in ((1.0, torch.arange(BATCH)), (0.0, turned)):
        draws = {"mixup_partner": turned, "mixup_lambda": torch.full((BATCH,), share, dtype=torch.float64)}
        got, targets = Mixup().prepared(inputs, classes, SPEC, draws)
        assert torch.equal(got, inputs[kept])
        assert torch.equal(targets.argmax(dim=1), classes[kept])
        assert torch.equal(targets.max(dim=1).values, torch.ones(BATCH, dtype=torch.float64))


def test_mixing_again_mixes_probabilities() -> None:
    probabilities = torch.softmax(torch.randn(BATCH, CLASSES, generator=torch.Generator().manual_seed(0)), 1).double()
    draws = step(drawn(Mixup(), [BATCH]))
    _, targets = Mixup().prepared(normalised(stored()), probabilities, SPEC, draws)
    share, partner = draws["mixup_lambda"][:, None], draws["mixup_partner"]
    torch.testing.assert_close(targets, share * probabilities + (1 - share) * probabilities[partner])


@given(st.lists(st.integers(1, BATCH), min_size=1, max_size=6), st.integers(0, 2**32))
@settings(max_examples=50, deadline=None)
def test_partners_permute_the_valid_samples_and_padding_is_its_own(count_T: list[int], seed: int) -> None:
    draws = drawn(Mixup(), count_T, seed=seed)
    for partner_B, count in zip(draws["mixup_partner"].tolist(), count_T, strict=True):
        assert sorted(partner_B[:count]) == list(range(count))
        assert partner_B[count:] == list(range(count, BATCH))


def test_partners_are_uniform() -> None:
    partner = Mixup().draw(stream(9, "augment"), np.full(6000, 3), 4, (8, 8))["mixup_partner"]
    _, times = np.unique(partner, axis=0, return_counts=True)
    assert len(times) == 6
    assert ((times - 1000.0) ** 2 / 1000).sum() < 20.5  # 5 degrees of freedom, 0.1 %


@pytest.mark.parametrize("alpha", [0.2, 1.0, 4.0])
def test_lambda_has_the_moments_of_the_beta_distribution(alpha: float) -> None:
    shares = Mixup(mixup_alpha=alpha).draw(stream(4, "augment"), np.full(200, 100), 100, (8, 8))["mixup_lambda"]
    assert abs(shares.mean() - 0.5) < 0.01
    assert abs(shares.var() / (1 / (4 * (2 * alpha + 1))) - 1) < 0.03
    assert len(np.unique(shares)) > 0.99 * shares.size, "one for each sample"


# every augmentation


@pytest.mark.parametrize("keys", ALL, ids=str)
def test_vmap_over_clients_equals_a_loop(keys: Any) -> None:
    augment = resolve(Augment, keys)
    clients = [drawn(augment, [count], client=k) for k, count in enumerate((BATCH, 5, 1))]
    images_KBHWC = torch.stack([stored(seed=k) for k in range(3)])
    targets_KB = torch.stack([labels().roll(k) for k in range(3)])
    draws = {name: torch.from_numpy(np.stack([c[name][0] for c in clients])) for name in clients[0]}
    together = vmap(lambda i, t, d: applied(augment, i, t, d))(images_KBHWC, targets_KB, draws)
    for k in range(3):
        alone = applied(augment, images_KBHWC[k], targets_KB[k], {name: draw[k] for name, draw in draws.items()})
        assert all(torch.equal(whole[k], one) for whole, one in zip(together, alone, strict=True))


@pytest.mark.parametrize("keys", ALL, ids=str)
@pytest.mark.parametrize("count", [1, 4])
def test_padding_changes_no_bit_of_a_valid_sample(keys: Any, count: int) -> None:
    augment = resolve(Augment, keys)
    draws = step(drawn(augment, [count]))
    images, targets = stored(), labels()
    other_images, other_targets = images.clone(), targets.clone()
    other_images[count:] = 255 - images[count:]
    other_targets[count:] = (targets[count:] + 1) % CLASSES
    clean = applied(augment, images, targets, draws)
    dirty = applied(augment, other_images, other_targets, draws)
    for one, other in zip(clean, dirty, strict=True):
        assert torch.equal(one[:count], other[:count])
        assert not torch.equal(one[count:], other[count:])


@pytest.mark.parametrize("keys", ALL, ids=str)
def test_a_batch_cut_to_its_valid_samples_gives_the_same_bits(keys: Any) -> None:
    """The loop engine trains on a batch of `count` samples, the cohort engine on one with padding."""
    augment = resolve(Augment, keys)
    draws = step(drawn(augment, [4]))
    padded = applied(augment, stored(), labels(), draws)
    cut = applied(augment, stored()[:4], labels()[:4], {name: draw[:4] for name, draw in draws.items()})
    assert all(torch.equal(one[:4], other) for one, other in zip(padded, cut, strict=True))


@pytest.mark.parametrize("keys", ALL, ids=str)
def test_a_step_that_is_cut_short_is_no_error(keys: Any) -> None:
    """A client without a step repeats its last one, cut to the batch of the others; its result is dropped."""
    augment = resolve(Augment, keys)
    draws = step(drawn(augment, [BATCH], seed=1))
    inputs, _ = applied(augment, stored()[:2], labels()[:2], {name: draw[:2] for name, draw in draws.items()})
    assert bool(inputs.isfinite().all())


@pytest.mark.parametrize("keys", ALL, ids=str)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_type_memory_order_and_arguments_are_kept(keys: Any, dtype: torch.dtype) -> None:
    augment = resolve(Augment, keys)
    draws = step(drawn(augment, [BATCH]))
    images, inputs, targets = stored(), normalised(stored(), dtype), labels()
    before = [tensor.clone() for tensor in (images, inputs, targets, *draws.values())]
    pixels = augment.stored(images, NONE, draws)[0]
    got, soft = augment.prepared(inputs, targets, SPEC, draws)
    assert pixels.dtype == torch.uint8
    assert pixels.shape == images.shape
    assert got.dtype == dtype
    assert got.shape == inputs.shape
    assert got.is_contiguous(memory_format=torch.channels_last)
    if soft is not targets:
        assert soft.dtype == dtype
        torch.testing.assert_close(soft.sum(dim=1), torch.ones(BATCH, dtype=dtype))
    for tensor, was in zip((images, inputs, targets, *draws.values()), before, strict=True):
        assert torch.equal(tensor, was)


@pytest.mark.parametrize("keys", ALL, ids=str)
def test_draws_are_keyed_and_one_for_each_sample(keys: Any) -> None:
    augment = resolve(Augment, keys)
    one, again, other = (drawn(augment, [BATCH, 3], client=client) for client in (0, 0, 1))
    for name in one:
        assert one[name].shape[:2] == (2, BATCH)
        np.testing.assert_array_equal(one[name], again[name])
    assert not one or any(not np.array_equal(one[name], other[name]) for name in one)


def test_an_augmentation_after_another_applies_both() -> None:
    both = Mixup(mixup_after=Cutout(cutout_size=3))
    draws = drawn(both, [BATCH])
    assert set(draws) == {"crop_offset", "crop_mirror", "cutout_centre", "mixup_partner", "mixup_lambda"}
    crop, hole, mix = CropFlip(), Cutout(cutout_size=3, cutout_after=NoAugment()), Mixup(mixup_after=NoAugment())
    at = step(draws)
    expected, _ = hole.prepared(normalised(crop.stored(stored(), NONE, at)[0]), labels(), SPEC, at)
    got, targets = applied(both, stored(), labels(), at)
    mixed, mixed_targets = mix.prepared(expected, labels(), SPEC, at)
    assert torch.equal(got, mixed)
    assert torch.equal(targets, mixed_targets)


def test_holes_after_mixing_are_cut_into_the_mixture() -> None:
    both = Cutout(cutout_size=3, cutout_after=Mixup())
    at = step(drawn(both, [BATCH]))
    mixed, mixed_targets = applied(Mixup(), stored(), labels(), at)
    expected, _ = Cutout(cutout_size=3, cutout_after=NoAugment()).prepared(mixed, labels(), SPEC, at)
    got, targets = applied(both, stored(), labels(), at)
    assert torch.equal(got, expected)
    assert torch.equal(targets, mixed_targets)


@pytest.mark.parametrize("twice", ["cutout", "mixup", "smoothing"])
@pytest.mark.parametrize("between", [True, False])
def test_the_same_augmentation_twice_is_refused(twice: str, between: bool) -> None:
    other = "mixup" if twice == "cutout" else "cutout"
    inner = resolve(Augment, twice)
    if between:
        inner = resolve(Augment, {"name": other, f"{other}_after": inner})
    with pytest.raises(
        InputError, match=f"^{twice}_after = {inner.name}: {twice} would be applied twice; it can be once$"
    ):
        resolve(Augment, {"name": twice, f"{twice}_after": inner})


@pytest.mark.parametrize("keys", ALL, ids=str)
def test_keys_name_the_whole_chain(keys: Any) -> None:
    run = Run(data=Digits(augment=resolve(Augment, keys)))
    assert Run.from_keys(run.keys()) == run
