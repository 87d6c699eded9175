import pytest
import torch
from pydantic import ValidationError
from torch import nn

from harness.data.palette import NAMES
from harness.models.conditional_unet import ConditionalUNet, ConditionalUNetConfig
from harness.registry import registry

torch.set_num_threads(1)

SIX = NAMES[:6]
SMALL = {"widths": (4, 8), "layers": 1, "embedding": 5}


def make(seed=0, image_channels=3, class_names=SIX, **settings):
    torch.manual_seed(seed)
    small = {
        name: value for name, value in SMALL.items() if name != "embedding" or settings.get("site") != "none"
    }
    config = ConditionalUNetConfig(**(small | settings))
    return ConditionalUNet(config, image_channels=image_channels, class_names=class_names)


def inputs(size=16, count=4, channels=3):
    generator = torch.Generator().manual_seed(1)
    return torch.rand(count, channels, size, size, generator=generator), torch.arange(count) % 6


def parameters(model):
    return sum(parameter.numel() for parameter in model.parameters())


def test_is_registered():
    assert registry.load("model", "conditional_unet") is ConditionalUNet


# Way down 3*4*9 + 2*4 and 4*8*9 + 2*8; embedding 6*5, projection 5*8 + 8, fusion 16*8 + 8;
# narrowing 8*4 + 4; way up (4+4)*4*9 + 2*4; head 4*3 + 3.
WHOLE = 116 + 304 + 30 + 48 + 136 + 36 + 296 + 15

WITHOUT = WHOLE - 30 - 48 - 136
ATTENTION = 8 * 8 + 8 * 5 + 8 * 5 + 3 * 8 + (8 * 8 + 8)
SITES = ["bottleneck", "input", "film", "cross_attention", "none"]


@pytest.mark.parametrize(
    ("settings", "count"),
    [
        ({}, WHOLE),
        ({"skips": False}, WHOLE - 4 * 4 * 9),
        ({"norm": "group", "groups": 4}, WHOLE),
        ({"norm": "none"}, WHOLE - 2 * (4 + 8 + 4) + (4 + 8 + 4)),
        ({"layers": 2}, WHOLE + (4 * 4 * 9 + 8) + (8 * 8 * 9 + 16) + (4 * 4 * 9 + 8)),
        ({"depth": 1}, 116 + (30 + (5 * 4 + 4) + (8 * 4 + 4)) + 15),
        ({"image_channels": 6}, WHOLE + 3 * 4 * 9),
        ({"class_names": NAMES}, WHOLE + 18 * 5),
        ({"embedding": 9}, WHOLE + 4 * 6 + 4 * 8),
        ({"site": "none"}, WITHOUT),
        # Embedding, projection to the first width, as many more input channels of the first convolution.
        ({"site": "input"}, WITHOUT + 30 + (5 * 4 + 4) + 4 * 4 * 9),
        # Scale and shift for the stages of 4, 8 and 4 channels.
        ({"site": "film"}, WITHOUT + 30 + (5 + 1) * 2 * (4 + 8 + 4)),
        # Projection to two maps of 16x16, which the fusion reads beside the 8 channels.
        ({"embedding_maps": 2}, WITHOUT + 30 + (5 + 1) * 2 * 256 + ((8 + 2) * 8 + 8)),
        # Three tokens a class, norm of the queries; queries, keys and values with a bias each; output.
        ({"site": "cross_attention", "class_tokens": 3}, WITHOUT + 6 * 15 + 16 + ATTENTION),
    ],
)
def test_parameters_are_those_counted_by_hand(settings, count):
    assert parameters(make(**settings)) == count


@pytest.mark.parametrize(
    ("widths", "depth", "effective"),
    [
        ((32, 64, 128), None, (32, 64, 128)),
        ((32, 64, 128), 3, (32, 64, 128)),
        ((32, 64, 128), 2, (32, 64)),
        ((32, 64, 128), 5, (32, 64, 128, 256, 512)),
        ((8,), 3, (8, 16, 32)),
    ],
)
def test_depth_shortens_or_doubles_the_widths(widths, depth, effective):
    assert ConditionalUNetConfig(widths=widths, depth=depth).effective_widths == effective


@pytest.mark.parametrize("size", [2, 7, 15, 16, 33])
@pytest.mark.parametrize("skips", [True, False])
def test_every_size_from_the_smallest_on_keeps_its_size(size, skips):
    image, colour = inputs(size)
    assert make(skips=skips)(image, colour).shape == (4, 3, size, size)


def test_oblong_pictures_keep_their_size():
    image, colour = inputs(32)
    assert make(depth=4)(image[:, :, :17, :], colour).shape == (4, 3, 17, 32)


@pytest.mark.parametrize("site", SITES)
@pytest.mark.parametrize(("height", "width"), [(16, 16), (7, 18)])
def test_every_site_keeps_the_size(site, height, width):
    image, colour = inputs(18)
    assert make(site=site)(image[:, :, :height, :width], colour).shape == (4, 3, height, width)


@pytest.mark.parametrize("site", SITES)
@pytest.mark.parametrize("depth", [1, 3])
def test_class_changes_the_picture_at_every_site_but_none(site, depth):
    model = make(site=site, depth=depth).eval()
    image, _ = inputs(count=1)
    pictures = [model(image, torch.tensor([colour])) for colour in range(6)]
    largest = max((picture - pictures[0]).abs().max().item() for picture in pictures[1:])
    assert (largest > 1e-4) == (site != "none")


@pytest.mark.parametrize("site", SITES)
@pytest.mark.parametrize("depth", [1, 2, 3])
def test_gradient_reaches_every_parameter_at_every_site(site, depth):
    # Without batch statistics: they would take the shift of FiLM back out of a layer without detail.
    model = make(site=site, depth=depth, norm="none", activation="silu")
    image, colour = inputs(count=6)
    (model(image, colour) - image).square().mean().backward()
    for name, parameter in model.named_parameters():
        assert parameter.grad.abs().sum() > 0, name


def test_film_begins_close_to_no_change_and_scales_and_shifts_as_told():
    film = make(site="film").condition
    features, label = torch.randn(6, 8, 3, 3, generator=torch.Generator().manual_seed(2)), torch.arange(6)
    assert (film.at_stage(features, label, 1) - features).abs().max() < 1.5
    nn.init.zeros_(film.modulate[1].weight)
    assert torch.equal(film.at_stage(features, label, 1), features)
    film.modulate[1].bias.data = torch.tensor([0.5] * 8 + [2.0] * 8)
    torch.testing.assert_close(film.at_stage(features, label, 1), 1.5 * features + 2)


def test_attention_reads_places_of_different_features_differently():
    condition = make(site="cross_attention", widths=(4, 16), heads=2).condition
    features = torch.randn(1, 16, 1, 2, generator=torch.Generator().manual_seed(2))
    added = condition.at_bottleneck(features, torch.tensor([3])) - features
    assert (added[..., 0] - added[..., 1]).abs().max() > 1e-3


@pytest.mark.parametrize(("width", "heads"), [(8, 8), (64, 8), (12, 4), (10, 2), (7, 1)])
def test_heads_are_the_largest_power_of_two_up_to_eight_that_divides(width, heads):
    config = ConditionalUNetConfig(widths=(4, width), site="cross_attention")
    assert config.effective_heads == heads
    with torch.device("meta"):
        model = ConditionalUNet(config, image_channels=3, class_names=SIX[:2])
    assert model.condition.attend.num_heads == heads


def test_default_site_draws_the_weights_that_it_always_drew():
    """The order of construction decides them: way down, condition, way up, head."""
    model = make(seed=3)
    assert model.state_dict()["condition.fuse.weight"].sum().item() == pytest.approx(0.819215, abs=1e-5)
    assert model.state_dict()["head.weight"].sum().item() == pytest.approx(0.779241, abs=1e-5)


@pytest.mark.parametrize(("depth", "size"), [(7, 64), (1, 1), (3, 4), (3, 5)])
def test_check_passes_what_works(depth, size):
    config = ConditionalUNetConfig(widths=(1,), depth=depth)
    assert config.check(size, size) is None
    image, colour = inputs(size)
    # Doubled widths grow fast: narrow ones show the same sizes.
    narrow = ConditionalUNet(ConditionalUNetConfig(widths=(1,) * depth), image_channels=3, class_names=SIX)
    assert narrow(image, colour).shape == image.shape


@pytest.mark.parametrize(
    ("depth", "size", "message"),
    [
        (8, (64, 64), "depth 8 leaves a 0x0 map at size 64; use depth 7 at most or size 128 at least"),
        (4, (7, 7), "depth 4 leaves a 0x0 map at size 7; use depth 3 at most or size 8 at least"),
        (4, (7, 24), "depth 4 leaves a 0x3 map at size 7x24; use depth 3 at most or size 8 at least"),
        (4, (24, 7), "depth 4 leaves a 3x0 map at size 24x7; use depth 3 at most or size 8 at least"),
    ],
)
def test_check_refuses_what_does_not_work(depth, size, message):
    config = ConditionalUNetConfig(widths=(1,) * depth)
    assert config.check(*size) == message
    image, colour = inputs(max(size))
    image = image[:, :, : size[0], : size[1]]
    with pytest.raises(RuntimeError):
        ConditionalUNet(config, image_channels=3, class_names=SIX)(image, colour)


@pytest.mark.parametrize("settings", [{}, {"skips": False}, {"depth": 1}])
def test_colour_changes_the_picture(settings):
    model = make(**settings).eval()
    image, _ = inputs(count=1)
    pictures = [model(image, torch.tensor([colour])) for colour in range(6)]
    for one in range(6):
        for other in range(one):
            assert (pictures[one] - pictures[other]).abs().max() > 1e-3


def test_samples_of_a_batch_do_not_mix_outside_training():
    model = make().eval()
    image, colour = inputs()
    alone = model(image[2:3], colour[2:3])
    torch.testing.assert_close(model(image, colour)[2:3], alone)


def test_skips_carry_detail_to_the_output():
    """Detail below the lowest resolution cannot pass without skips."""
    colour = torch.tensor([0])
    # Same maximum in every 4x4 block and constant elsewhere: only the place within a block differs.
    pattern = torch.zeros(1, 3, 16, 16)
    moved = pattern.clone()
    pattern[:, :, ::4, ::4] = 1
    moved[:, :, 1::4, 1::4] = 1
    settings = {"widths": (4, 4, 4), "norm": "none"}
    for skips in (True, False):
        model = make(skips=skips, **settings).eval()
        with torch.no_grad():
            for stage in model.down:
                nn.init.dirac_(stage[0].weight)
        differs = (model(pattern, colour) - model(moved, colour)).abs().max() > 1e-4
        assert differs == skips


@pytest.mark.parametrize("norm", ["batch", "group", "none"])
@pytest.mark.parametrize("activation", ["relu", "silu", "gelu", "leaky_relu"])
def test_gradient_reaches_every_parameter(norm, activation):
    model = make(norm=norm, groups=2, activation=activation, layers=2, depth=3)
    image, colour = inputs(count=6)
    (model(image, colour) - image).square().mean().backward()
    for name, parameter in model.named_parameters():
        assert parameter.grad.abs().sum() > 0, name


def test_convolutions_have_a_bias_only_without_norm():
    for norm, expected in (("batch", False), ("group", False), ("none", True)):
        model = make(norm=norm, groups=2)
        found = {
            layer.bias is not None
            for layer in model.modules()
            if isinstance(layer, nn.Conv2d) and layer.kernel_size == (3, 3)
        }
        assert found == {expected}


def test_variance_survives_a_deep_model_without_norm():
    model = make(widths=(16, 16, 16, 16), layers=4, norm="none", output="linear").eval()
    image, colour = inputs(32)
    deepest = []
    model.down[-1].register_forward_hook(lambda *call: deepest.append(call[2]))
    model(image - 0.5, colour)
    assert 0.05 < deepest[0].std() < 20


def test_sigmoid_bounds_the_output_and_linear_does_not():
    image, colour = inputs()
    bounded, free = make(), make(output="linear")
    for model in (bounded, free):
        nn.init.constant_(model.head.bias, 3.0)
        nn.init.zeros_(model.head.weight)
    assert bounded(image, colour).max().item() == pytest.approx(0.952574, abs=1e-5)
    assert free(image, colour).max().item() == pytest.approx(3.0)


def test_tanh_is_mapped_to_the_range_of_pictures():
    model = make(output="tanh")
    image, colour = inputs()
    nn.init.zeros_(model.head.weight)
    for bias, expected in ((-20.0, 0.0), (0.0, 0.5), (0.5, 0.731059), (20.0, 1.0)):
        nn.init.constant_(model.head.bias, bias)
        assert model(image, colour).max().item() == pytest.approx(expected, abs=1e-5)


def test_the_published_form_puts_one_map_of_16x16_beside_1024_channels():
    config = ConditionalUNetConfig(
        widths=(64, 128, 256, 512, 1024),
        embedding=128,
        embedding_maps=1,
        output="tanh",
        upsampling="bilinear",
    )
    with torch.device("meta"):
        model = ConditionalUNet(config, image_channels=1, class_names=NAMES)
    condition, seen = model.condition, []
    assert (condition.embed.weight.shape, condition.project.out_features) == ((24, 128), 16 * 16)
    assert condition.fuse.weight.shape == (1024, 1025, 1, 1)
    condition.fuse.register_forward_hook(lambda _, read, made: seen.extend([read[0].shape, made.shape]))
    picture = model(
        torch.empty(2, 1, 256, 256, device="meta"), torch.zeros(2, dtype=torch.int64, device="meta")
    )
    assert seen == [(2, 1025, 16, 16), (2, 1024, 16, 16)]
    assert picture.shape == (2, 3, 256, 256)


@pytest.mark.parametrize("size", [7, 16, 64])
def test_maps_of_the_class_tell_places_apart_at_every_size(size):
    model = make(embedding_maps=1).condition
    features = torch.zeros(1, 8, size, size)
    fused = model.at_bottleneck(features, torch.tensor([2]))
    assert fused.shape == features.shape
    assert fused.flatten(2).std(dim=2).max() > 1e-3
    assert (fused - model.at_bottleneck(features, torch.tensor([3]))).abs().max() > 1e-3


def test_bilinear_upsampling_has_no_steps_where_the_nearest_has():
    def enlarged(upsampling):
        model = make(upsampling=upsampling, norm="none", activation="leaky_relu")
        seen = []
        model.up[0].register_forward_hook(lambda _, read, made: seen.append(read[0][:, :4]))
        image, colour = inputs()
        model(image, colour)
        return seen[0]

    steps = enlarged("nearest")
    assert torch.equal(steps[..., ::2, ::2], steps[..., 1::2, 1::2])
    small = steps[..., ::2, ::2]
    smooth = nn.functional.interpolate(small, size=steps.shape[-2:], mode="bilinear")
    torch.testing.assert_close(enlarged("bilinear"), smooth)


@pytest.mark.parametrize("settings", [{"upsampling": "bilinear"}, {"embedding_maps": 3}])
def test_later_settings_train_under_strict_determinism_and_autocast(settings):
    def gradient(dtype):
        model = make(norm="none", activation="silu", **settings)
        image, colour = inputs(count=6)
        with torch.autocast("cpu", dtype=torch.bfloat16, enabled=dtype == torch.bfloat16):
            picture = model(image, colour)
        (picture.float() - image).square().mean().backward()
        assert all(parameter.grad.abs().sum() > 0 for parameter in model.parameters())
        return torch.cat([parameter.grad.flatten() for parameter in model.parameters()])

    torch.use_deterministic_algorithms(True)
    try:
        assert torch.equal(gradient(torch.float32), gradient(torch.float32))
        assert gradient(torch.bfloat16).isfinite().all()
    finally:
        torch.use_deterministic_algorithms(False)


def test_same_seed_gives_the_same_weights_and_another_seed_others():
    one, same, other = make(seed=4), make(seed=4), make(seed=5)
    for name, weight in one.state_dict().items():
        assert torch.equal(weight, same.state_dict()[name]), name
    assert not torch.equal(one.head.weight, other.head.weight)


def test_training_repeats_exactly_under_strict_determinism():
    def gradient():
        model = make()
        image, colour = inputs()
        model(image, colour).square().mean().backward()
        return torch.cat([parameter.grad.flatten() for parameter in model.parameters()])

    torch.use_deterministic_algorithms(True)
    try:
        assert torch.equal(gradient(), gradient())
    finally:
        torch.use_deterministic_algorithms(False)


@pytest.mark.parametrize("skips", [True, False])
def test_channels_last_gives_the_same_picture(skips):
    model = make(skips=skips).eval()
    image, colour = inputs()
    expected = model(image, colour)
    model = model.to(memory_format=torch.channels_last)
    actual = model(image.contiguous(memory_format=torch.channels_last), colour)
    torch.testing.assert_close(actual, expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("norm", ["batch", "group", "none"])
def test_trains_under_bf16_autocast(norm):
    model = make(norm=norm, groups=2)
    image, colour = inputs()
    with torch.autocast("cpu", dtype=torch.bfloat16):
        picture = model(image, colour)
    picture.float().square().mean().backward()
    reference = make(norm=norm, groups=2)(image, colour)
    assert (picture.float() - reference).abs().max() < 0.05
    for parameter in model.parameters():
        assert parameter.grad.dtype == torch.float32
        assert parameter.grad.isfinite().all()
    for layer in model.modules():
        if isinstance(layer, nn.BatchNorm2d):
            assert layer.running_mean.dtype == torch.float32
            assert layer.running_mean.abs().sum() > 0


@pytest.mark.parametrize("site", SITES)
def test_can_be_built_and_run_on_the_meta_device(site):
    config = ConditionalUNetConfig(site=site)
    with torch.device("meta"):
        model = ConditionalUNet(config, image_channels=3, class_names=NAMES)
        picture = model(torch.empty(2, 3, 64, 64), torch.zeros(2, dtype=torch.int64))
    assert picture.shape == (2, 3, 64, 64)
    assert all(parameter.is_meta for parameter in model.parameters())


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"widths": (12, 20), "norm": "group"}, "groups 8 must divide every width.*12"),
        ({"widths": ()}, "widths"),
        ({"widths": (0,)}, "widths.0\n  Input should be greater than or equal to 1"),
        ({"depth": 0}, "depth"),
        ({"norm": "layer"}, "norm"),
        ({"width": (8,)}, "width"),
        ({"site": "middle"}, "site"),
        ({"site": "cross_attention", "class_tokens": 1}, "class_tokens"),
        (
            {"site": "cross_attention", "widths": (8, 12), "heads": 8},
            "heads 8 does not divide the 12 channels of the lowest resolution",
        ),
    ],
)
def test_bad_settings_are_refused(settings, message):
    with pytest.raises(ValidationError, match=message):
        ConditionalUNetConfig(**settings)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ({"widths": (8, 16)}, {"widths": (8, 16), "depth": 2}),
        ({"widths": (8, 16)}, {"widths": (8, 16, 32), "depth": 2}),
        ({"groups": 4}, {}),
        ({"widths": (8,), "skips": False}, {"widths": (8,)}),
        ({"site": "film", "heads": 2, "class_tokens": 3}, {"site": "film"}),
        ({"site": "none", "embedding": 8}, {"site": "none"}),
        ({"site": "film", "embedding_maps": 1}, {"site": "film"}),
        ({"widths": (8,), "upsampling": "bilinear"}, {"widths": (8,)}),
    ],
)
def test_what_means_the_same_is_written_the_same(one, other):
    written = ConditionalUNetConfig(**one).model_dump(mode="json")
    assert written == ConditionalUNetConfig(**other).model_dump(mode="json")
    assert ConditionalUNetConfig(**written).model_dump(mode="json") == written


def test_settings_that_came_later_are_not_written_where_they_change_nothing():
    assert not {"embedding_maps", "upsampling"} & set(ConditionalUNetConfig().model_dump())
    later = {"embedding_maps": 1, "upsampling": "bilinear"}
    written = ConditionalUNetConfig(**later).model_dump()
    assert {name: written[name] for name in later} == later


def test_settings_with_an_effect_are_written_as_they_are():
    settings = {"norm": "group", "groups": 4, "site": "cross_attention", "heads": 2, "embedding": 8}
    written = ConditionalUNetConfig(**settings).model_dump()
    assert {name: written[name] for name in settings} == settings


def test_groups_matter_only_to_the_group_norm():
    assert ConditionalUNetConfig(widths=(12, 20), norm="batch").effective_widths == (12, 20)
    assert ConditionalUNetConfig(widths=(16,), depth=2, norm="group", groups=16).norm == "group"


def test_learns_to_paint_the_named_colour():
    """A few steps on a constant picture bring the output near the colour of its class."""
    model = make(class_names=SIX[:2], widths=(8, 8))
    image, colour = torch.full((8, 3, 8, 8), 0.5), torch.arange(8) % 2
    target = torch.stack([torch.tensor([0.9, 0.1, 0.1]), torch.tensor([0.1, 0.1, 0.9])])[colour]
    optimizer = torch.optim.Adam(model.parameters(), lr=0.02)
    for _ in range(60):
        loss = (model(image, colour) - target[:, :, None, None]).square().mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    assert loss < 0.01
