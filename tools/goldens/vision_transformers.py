"""Outputs of ViT, DeiT and Swin, computed by timm in float64: tests/goldens/vision_transformers/<kind>.safetensors.

Weights, input, contents and metadata are as in networks.py, and so is accuracy.json beside the files: how far timm's
own float32 run is from each output, and for networks that are wrong in one thing how far the output is that shows it
most. A wrong network that stays within the tests' bounds stops the program.

timm builds a Swin for one size of the input and gives a map that is smaller than the window a table of relative
positions of its own. Ours may have the table of the whole window and sees its middle there, which is what these tables
are filled with; of swin_of_32_pixels each has values of its own, as it is in a network that timm trained so. A ViT resizes its position embeddings as timm does with dynamic_img_size.
"""

import copy
import json

import timm
import torch
import torchvision
from formula import BIAS, EMBEDDING, NORM_WEIGHT, WEIGHT, formula_input, formula_tensor, role_of
from network_golden import SEED, write_network, write_networks, write_torchvision_network
from networks import Kind
from timm.models import vision_transformer
from timm.models.deit import VisionTransformerDistilled
from timm.models.swin_transformer import PatchMerging, SwinTransformer, SwinTransformerBlock
from torch.nn import functional

TABLE = "relative_position_bias_table"


def swin(architecture, size, depths, width, **more):
    dims = [width, 2 * width, 4 * width, 8 * width]
    return Kind(architecture, size, dict(depths=depths, dims=dims, classes=11), **more)


def vit(architecture, size, **more):
    return Kind(architecture, size, dict(depths=[3], dims=[128], classes=11), **more)


KINDS = {
    # At the grid of the position embeddings, and at one of more columns and fewer rows.
    "vit": vit("vit_tiny_patch16_224", (224, 224), batch=1),
    "vit_resized": vit("vit_tiny_patch16_224", (112, 256)),
    "deit_distilled": vit("deit_tiny_distilled_patch16_224", (80, 48)),
    # Maps of 28x14, 14x7, 7x4 and 4x2: shifted in both directions, in one, and not at all.
    "swin": swin("swin_tiny_patch4_window7_224", (112, 56), [2, 2, 2, 2], 32),
    # 25x18, 13x9, 7x5 and 4x3: windows and merging that leave rows and columns over.
    "swin_padded": swin("swin_tiny_patch4_window7_224", (100, 72), [2, 2, 2, 2], 32, batch=1),
    # As timm builds it for CIFAR-10: windows of 7, 4, 2 and 1 on maps of 8, 4, 2 and 1.
    "swin_of_32_pixels": swin("swin_tiny_patch4_window7_224", (32, 32), [2, 2, 1, 1], 32),
    "swin_window12": swin("swin_base_patch4_window12_384", (96, 96), [2, 1, 2, 1], 32, batch=1),
    # The whole of two networks.
    "deit_tiny_distilled_patch16_224": Kind(
        "deit_tiny_distilled_patch16_224", (224, 224), batch=1, outputs=("logits",)
    ),
    "swin_tiny_patch4_window7_224": Kind("swin_tiny_patch4_window7_224", (224, 224), batch=1, outputs=("logits",)),
}


def build(kind):
    """A float32 model in evaluation mode. Heads stay as wide as they are in the registered network."""
    overrides, arguments = dict(kind.overrides), {}
    is_swin = kind.architecture.startswith("swin")
    if overrides:
        depths, dims, arguments["num_classes"] = (overrides.pop(key) for key in ("depths", "dims", "classes"))
        head = 32 if is_swin else 64
        heads = [dim // head for dim in dims]
        if is_swin:
            arguments.update(depths=depths, embed_dim=dims[0], num_heads=heads)
        else:
            arguments.update(depth=depths[0], embed_dim=dims[0], num_heads=heads[0])
    if is_swin:
        arguments["img_size"] = kind.size
    else:
        arguments["dynamic_img_size"] = True
    return timm.create_model(kind.architecture, pretrained=False, **arguments).eval()


def middle(table, window, of):
    """The rows of a table of relative positions for a window of (height, width) `window`, out of those for `of`."""
    side = 2 * of - 1
    (height, width), grid = window, table.reshape(side, side, -1)
    return grid[of - height : of + height - 1, of - width : of + width - 1].reshape(-1, table.shape[1])


def fill(model, window):
    """Gives every parameter its value from the formula.

    `window` is the side that tables of positions are for; without it each is for the window that it belongs to.
    """
    shapes = {name: tuple(tensor.shape) for name, tensor in model.state_dict().items()}
    values = {}
    for name, shape in shapes.items():
        role = role_of(name, shapes)
        if name.endswith(TABLE) and window:
            table = formula_tensor(name, ((2 * window - 1) ** 2, shape[1]), EMBEDDING, SEED)
            values[name] = middle(table, model.get_submodule(name.removesuffix("." + TABLE)).window_size, window)
        else:
            values[name] = formula_tensor(name, shape, role, SEED)
    model.load_state_dict({name: torch.from_numpy(value) for name, value in values.items()})
    return model


def run(model, x):
    """Arrays by name: logits, pooled, and stages.0, stages.1, ... before any norm."""
    outputs = {}
    with torch.no_grad():
        last = {} if isinstance(model, SwinTransformer) else {"indices": 1}
        features, stages = model.forward_intermediates(x, norm=False, **last)
        for i, stage in enumerate(stages):
            outputs[f"stages.{i}"] = stage
        outputs["pooled"] = model.forward_head(features, pre_logits=True)
        outputs["logits"] = model.forward_head(features)
        # The whole forward is the reference; the parts above are only to look inside it.
        assert torch.equal(outputs["logits"], model(x))
    return {name: tensor.double().numpy() for name, tensor in outputs.items()}


def attentions(model):
    return [module for name, module in model.named_modules() if name.endswith(".attn")]


def change_activation(model):
    for module in list(model.modules()):
        if hasattr(module, "act"):
            module.act = torch.nn.GELU(approximate="tanh")


def change_epsilon(model):
    for module in model.modules():
        if isinstance(module, torch.nn.LayerNorm):
            module.eps = 1e-5 if module.eps == 1e-6 else 1e-6


def exchange_parts(model, order):
    """Another order of q, k and v in the rows of the one matrix."""
    for attention in attentions(model):
        for tensor in (attention.qkv.weight.data, attention.qkv.bias.data):
            tensor[:] = torch.cat([tensor.chunk(3)[i] for i in order])


def join_heads(model):
    for attention in attentions(model):
        assert attention.num_heads % 2 == 0
        attention.num_heads //= 2
        attention.head_dim *= 2
        attention.scale = attention.head_dim**-0.5


def resize_positions(model, **options):
    def resized(positions, new_size, old_size, num_prefix_tokens):
        prefix, grid = positions[:, :num_prefix_tokens], positions[:, num_prefix_tokens:]
        grid = grid.reshape(1, *old_size, -1).permute(0, 3, 1, 2)
        grid = functional.interpolate(grid, size=new_size, align_corners=False, **options)
        return torch.cat([prefix, grid.permute(0, 2, 3, 1).flatten(1, 2)], dim=1)

    original = type(model)._pos_embed

    def changed(x):
        kept = {module: module.resample_abs_pos_embed for module in (vision_transformer, timm.models.deit)}
        try:
            for module in kept:
                module.resample_abs_pos_embed = resized
            return original(model, x)
        finally:
            for module, function in kept.items():
                module.resample_abs_pos_embed = function

    model._pos_embed = changed


def swap_prefix_positions(model):
    positions = model.pos_embed.data
    positions[:, [0, 1]] = positions[:, [1, 0]].clone()


def swap_heads(model):
    model.head, model.head_dist = model.head_dist, model.head


def one_head(model):
    model.head_dist = model.head


def blocks_of(model):
    return [module for module in model.modules() if isinstance(module, SwinTransformerBlock)]


def shift_nothing(model):
    for block in blocks_of(model):
        block.shift_size, block.attn_mask = (0, 0), None


def mask_nothing(model):
    for block in blocks_of(model):
        block.attn_mask = None


def turn_positions(model):
    """Every offset for its opposite."""
    for attention in attentions(model):
        height, width = attention.window_size
        table = attention.relative_position_bias_table.data
        turned = table.reshape(2 * height - 1, 2 * width - 1, -1).flip(0, 1)
        table[:] = turned.reshape(table.shape)


def merge_by_rows(model):
    """The 2x2 tokens along the upper row, then along the lower one."""
    for merging in [module for module in model.modules() if isinstance(module, PatchMerging)]:
        for tensor in (merging.norm.weight.data, merging.norm.bias.data, merging.reduction.weight.data):
            parts = tensor.chunk(4, dim=-1)
            tensor[:] = torch.cat([parts[i] for i in (0, 2, 1, 3)], dim=-1)


def mutations(model, kind):
    """Changes by name; each takes a copy of the model."""
    changes = {
        "tanh GELU": change_activation,
        "epsilon": change_epsilon,
        "k, q, v": lambda m: exchange_parts(m, (1, 0, 2)),
        "q, v, k": lambda m: exchange_parts(m, (0, 2, 1)),
    }
    if all(attention.num_heads % 2 == 0 for attention in attentions(model)):
        changes["half as many heads"] = join_heads
    if isinstance(model, SwinTransformer):
        changes["no shift"] = shift_nothing
        changes["shift without mask"] = mask_nothing
        changes["offsets reversed"] = turn_positions
        changes["merging by rows"] = merge_by_rows
        return changes
    if kind.size != (224, 224):
        changes["positions resized by bilinear"] = lambda m: resize_positions(m, mode="bilinear", antialias=True)
        changes["positions resized without antialias"] = lambda m: resize_positions(m, mode="bicubic")
    if isinstance(model, VisionTransformerDistilled):
        changes["class and distillation positions swapped"] = swap_prefix_positions
        changes["classifiers swapped"] = swap_heads
        changes["one classifier"] = one_head
    return changes


def make(name, kind, path):
    shape = (kind.batch, 3, *kind.size)
    x = torch.from_numpy(formula_input("input", shape, SEED))
    window = None if name == "swin_of_32_pixels" else 12 if "window12" in kind.architecture else 7
    model = fill(build(kind), window)

    def outputs_of(model, x):
        found = run(model, x)
        return {key: found[key] for key in kind.outputs or found}

    def wrong():
        for change_name, change in mutations(model, kind).items():
            mutant = copy.deepcopy(model).double()
            change(mutant)
            yield change_name, outputs_of(mutant, x.double())

    exact = outputs_of(copy.deepcopy(model).double(), x.double())
    return write_network(path, kind.architecture, kind.overrides, shape, exact, outputs_of(model, x), wrong())


def build_torchvision(architecture):
    """The registered network with torchvision_overrides(), as torchvision has it."""
    if architecture.startswith("vit"):
        return torchvision.models.VisionTransformer(
            image_size=224, patch_size=16, num_layers=2, num_heads=2, hidden_dim=128, mlp_dim=512, num_classes=11
        )
    return torchvision.models.SwinTransformer(
        patch_size=[4, 4], embed_dim=32, depths=[2, 2, 2, 1], num_heads=[1, 2, 4, 8], window_size=[7, 7], num_classes=11
    )


def torchvision_overrides(architecture):
    if architecture.startswith("vit"):
        return dict(depths=[2], dims=[128], classes=11)
    return dict(depths=[2, 2, 2, 1], dims=[32, 64, 128, 256], classes=11)


def torchvision_role(name, shape):
    if name.endswith(("class_token", "pos_embedding", TABLE)):
        return EMBEDDING
    if name.endswith("weight"):
        return NORM_WEIGHT if len(shape) == 1 else WEIGHT
    assert name.endswith("bias")
    return BIAS  # of norms the same


def make_torchvision(architecture, out):
    """At 224 pixels, where torchvision's windows are the same as timm's."""
    shape = (1, 3, 224, 224)
    model = build_torchvision(architecture).eval()
    shapes = {name: tuple(tensor.shape) for name, tensor in model.state_dict().items()}
    values = {
        name: torch.from_numpy(formula_tensor(name, shape, torchvision_role(name, shape), SEED))
        for name, shape in shapes.items()
        if not name.endswith("relative_position_index")
    }
    path = out / f"torchvision_{architecture.split('_')[0]}.safetensors"
    write_torchvision_network(path, model, architecture, torchvision_overrides(architecture), shapes, values, shape)


if __name__ == "__main__":
    if out := write_networks("vision_transformers", KINDS, make):
        make_torchvision("vit_tiny_patch16_224", out)
        make_torchvision("swin_tiny_patch4_window7_224", out)
