"""Small checkpoints in every layout that is published, and what their networks compute: tests/goldens/layouts/.

timm, torchvision and transformers write their own files, with their own classes, and compute the outputs themselves.
The authors', OpenMMLab's and OpenCLIP's names are given to timm's weights here; where timm reads that layout too, its
reader must give the same weights back, or the program stops.

Weights are the formula's (formula.py) by the names of whoever computes; they are stored in different float types. The
input is formula_input("input", (2, 3, 64, 64), SEED). expected.safetensors holds, by checkpoint, `logits`, or `pooled`
where there is no classifier, and of transformers' backbones `stage4`, the last stage's output, computed in float64 from
the weights as stored, and in its metadata the path and layout.
"""

import argparse
import json
import pathlib
import shutil

import numpy
import safetensors.torch
import timm
import torch
import torchvision
import transformers
from formula import BIAS, GRN_BIAS, GRN_WEIGHT, LAYER_SCALE, NORM_BIAS, NORM_WEIGHT, WEIGHT
from formula import fill, formula_input, formula_tensor
from golden_file import write_safetensors
from models import Isotropic
from pytorch_files import saved, with_stable_keys
from timm.models.convnext import ConvNeXt, checkpoint_filter_fn

SEED = 1
DEPTHS = [1, 1, 2, 1]
WIDTHS = [4, 6, 8, 10]
CLASSES = 7


def small(**more):
    return ConvNeXt(depths=DEPTHS, dims=WIDTHS, **{"num_classes": CLASSES, "ls_init_value": 1e-6, **more}).eval()


def role_in(module, name):
    """What a parameter is for, by the class of the module that owns it."""
    kind = type(module).__name__
    if name in ("layer_scale", "layer_scale_parameter", "gamma"):
        return LAYER_SCALE
    if kind.endswith("GRN"):
        return GRN_WEIGHT if name == "weight" else GRN_BIAS
    if "Norm" in kind:
        return NORM_WEIGHT if name == "weight" else NORM_BIAS
    assert kind in ("Conv2d", "Linear"), kind
    return WEIGHT if name == "weight" else BIAS


def fill_any(model):
    """The formula's values for every parameter of any library's model, by the library's names. Returns the model."""
    for prefix, module in model.named_modules():
        for name, parameter in module.named_parameters(recurse=False):
            full = f"{prefix}.{name}" if prefix else name
            values = formula_tensor(full, tuple(parameter.shape), role_in(module, name), SEED)
            parameter.data = torch.from_numpy(values.copy())
    return model.eval()


def stored_as(dtype, model):
    """Rounds the model's weights to `dtype`, in which they will be saved."""
    for parameter in model.parameters():
        parameter.data = parameter.data.to(dtype).to(torch.float32)
    return model


def in_type(state, dtype):
    return {name: tensor.to(dtype).contiguous() for name, tensor in state.items()}


def in_fb_names(state):
    """timm's weights under the authors' names (facebookresearch/ConvNeXt and ConvNeXt-V2)."""
    result = {}
    for name, tensor in state.items():
        parts = name.split(".")
        if parts[0] == "stem":
            parts = ["downsample_layers", "0", *parts[1:]]
        elif parts[2:3] == ["downsample"]:
            parts = ["downsample_layers", parts[1], *parts[3:]]
        elif parts[0] == "stages":
            theirs = {"conv_dw": "dwconv", "mlp.fc1": "pwconv1", "mlp.fc2": "pwconv2", "mlp.grn": "grn"}
            inner = ".".join(parts[4:-1])
            last = parts[-1]
            if inner == "mlp.grn":
                last = {"weight": "gamma", "bias": "beta"}[last]
                tensor = tensor.reshape(1, 1, 1, -1)
            elif inner.startswith("mlp.fc"):
                tensor = tensor.flatten(1) if last == "weight" else tensor
            parts = ["stages", parts[1], parts[3], theirs.get(inner, inner), last]
            parts = [part for part in parts if part]
        elif parts[:2] == ["head", "norm"]:
            parts = ["norm", *parts[2:]]
        elif parts[:2] == ["head", "fc"]:
            parts = ["head", *parts[2:]]
        result[".".join(parts)] = tensor
    return result


def save_legacy(value, tensors, path):
    """As PyTorch wrote before 1.6. `tensors`: all that `value` holds."""
    path.write_bytes(with_stable_keys(saved(value, _use_new_zipfile_serialization=False), tensors))


def check_with_timm(theirs, model):
    """timm's own reader of that layout must find the weights of `model` in it."""
    read = checkpoint_filter_fn(dict(theirs), model)
    state = model.state_dict()
    assert read.keys() == state.keys(), read.keys() ^ state.keys()
    assert all(torch.equal(read[name], state[name]) for name in state)


def in_sparse_form(fb):
    """The authors' names and shapes during pre-training, the inverse of ConvNeXt-V2's utils.py."""
    result = {}
    for name, tensor in fb.items():
        parts = name.split(".")
        if parts[0] in ("norm", "head"):
            continue
        is_stem = name.startswith("downsample_layers.0.")
        if not is_stem and parts[-1] == "weight" and tensor.dim() == 4:
            out, inputs, side, _ = tensor.shape
            taps = tensor.transpose(3, 2).reshape(out, inputs, side * side).permute(2, 1, 0)
            parts[-1], tensor = "kernel", taps[:, 0] if inputs == 1 else taps
        elif not is_stem and (parts[-2] == "norm" or parts[0] == "downsample_layers" and parts[2] == "0"):
            parts.insert(-1, "ln")
        elif parts[-2].startswith("pwconv"):
            parts.insert(-1, "linear")
        elif parts[-2] == "grn":
            tensor = tensor.reshape(1, -1)
        if parts[-1] == "bias" and not is_stem and tensor.dim() == 1 and "linear" not in parts and "ln" not in parts:
            tensor = tensor.reshape(1, -1)
        result["encoder." + ".".join(parts)] = tensor.contiguous()
    return result


def dense_again(sparse):
    """What ConvNeXt-V2 does with such a checkpoint before fine-tuning, from its description."""
    result = {}
    for name, tensor in sparse.items():
        parts = name.split(".")[1:]
        if parts[-1] == "kernel":
            parts[-1] = "weight"
            side = int(round(tensor.shape[0] ** 0.5))
            if tensor.dim() == 3:
                tensor = tensor.permute(2, 1, 0).reshape(tensor.shape[2], tensor.shape[1], side, side)
            else:
                tensor = tensor.permute(1, 0).reshape(tensor.shape[1], 1, side, side)
            tensor = tensor.transpose(3, 2)
        elif "ln" in parts or "linear" in parts:
            parts.pop(-2)
        if parts[-1] == "bias":
            tensor = tensor.reshape(-1)
        if "grn" in parts:
            tensor = tensor.reshape(1, 1, 1, -1)
        result[".".join(parts)] = tensor
    return result


class Checkpoints:
    """Collects the files and the outputs."""

    def __init__(self, folder):
        self.folder = folder
        self.outputs, self.about = {}, {}
        self.x = torch.from_numpy(formula_input("input", (2, 3, 64, 64), SEED)).double()

    def path(self, name):
        return self.folder / name

    def expect(self, path, layout, output, output_name="logits"):
        self.outputs[f"{path}/{output_name}"] = output.detach().numpy().astype(numpy.float32)
        self.about[path] = layout

    def of_timm(self, path, layout, model):
        """Whatever timm's model computes."""
        with torch.no_grad():
            output = model.double()(self.x)
        self.expect(path, layout, output, "logits" if model.num_classes > 0 else "pooled")


def make_timm(out):
    # The stem in tiers, linears as convolutions, and a hidden layer in the head.
    model = fill(small(stem_type="overlap_tiered", conv_mlp=True, head_hidden_size=9), SEED)
    stored_as(torch.float16, model)
    safetensors.torch.save_file(
        in_type(model.state_dict(), torch.float16), out.path("timm.safetensors"), {"format": "pt"}
    )
    out.of_timm("timm.safetensors", "timm", model)

    # Norm before pooling; a training checkpoint as distributed training leaves it, whose weights and moving average
    # differ in the bias of the classifier.
    model = stored_as(torch.bfloat16, fill(small(head_norm_first=True), SEED))
    average = {f"module.{name}": tensor for name, tensor in in_type(model.state_dict(), torch.bfloat16).items()}
    weights = average | {"module.head.fc.bias": torch.zeros(CLASSES, dtype=torch.bfloat16)}
    save_legacy(
        {"epoch": 3, "arch": "convnext_tiny_hnf", "state_dict": weights, "state_dict_ema": average},
        average | {"bias of the weights": weights["module.head.fc.bias"]},
        out.path("timm_norm_first.pth.tar"),
    )
    out.of_timm("timm_norm_first.pth.tar", "timm", model)


def make_fb(out):
    model = fill(small(), SEED)
    theirs = in_fb_names(model.state_dict())
    check_with_timm(theirs, model)
    save_legacy({"model": theirs}, theirs, out.path("fb.pth"))
    out.of_timm("fb.pth", "fb", model)

    # V2, whose linears timm keeps as convolutions in networks of this size.
    model = stored_as(torch.float16, fill(small(use_grn=True, ls_init_value=None, conv_mlp=True), SEED))
    theirs = in_fb_names(model.state_dict())
    check_with_timm(theirs, model)
    torch.save({"model": in_type(theirs, torch.float16)}, out.path("fb_v2.pt"))
    out.of_timm("fb_v2.pt", "fb", model)

    # DINOv3 repeats the final norm among the norms of the stages.
    model = stored_as(torch.bfloat16, fill(small(num_classes=0), SEED))
    theirs = in_fb_names(model.state_dict())
    theirs |= {f"norms.3.{name}": theirs[f"norm.{name}"] for name in ("weight", "bias")}
    check_with_timm(theirs, model)
    theirs = in_type(theirs, torch.bfloat16)
    save_legacy(theirs, theirs, out.path("fb_dinov3.pth"))
    out.of_timm("fb_dinov3.pth", "fb", model)

    # A detector: a norm after each stage, and the rest of it.
    model = stored_as(torch.float16, fill(small(num_classes=0), SEED))
    theirs = in_fb_names(model.state_dict())
    backbone = {f"backbone.{name.replace('norm.', 'norm3.') if name.startswith('norm.') else name}": tensor
                for name, tensor in theirs.items()}  # fmt: skip
    for i, width in enumerate(WIDTHS[:3]):
        backbone |= {f"backbone.norm{i}.weight": torch.ones(width), f"backbone.norm{i}.bias": torch.zeros(width)}
    backbone["neck.lateral_convs.0.conv.weight"] = torch.zeros(2, WIDTHS[0], 1, 1)
    backbone["roi_head.bbox_head.shared_convs.0.bn.num_batches_tracked"] = torch.tensor(5)
    torch.save({"meta": {"epoch": 36}, "state_dict": in_type(backbone, torch.float16)}, out.path("fb_detector.pth"))
    out.of_timm("fb_detector.pth", "fb", model)


def make_isotropic(out):
    model = Isotropic(depth=2, dim=8, classes=CLASSES, layer_scale=True).eval()
    stored_as(torch.float16, fill(model, SEED))
    theirs = {}
    for name, tensor in in_fb_names(model.state_dict()).items():
        name = name.replace("downsample_layers.0.0.", "stem.").replace("stages.0.", "blocks.")
        theirs[name] = tensor
    theirs = in_type(theirs, torch.float16)
    save_legacy({"model": theirs}, theirs, out.path("fb_isotropic.pth"))
    with torch.no_grad():
        out.expect("fb_isotropic.pth", "fb_isotropic", model.double()(out.x))


def make_torchvision(out):
    blocks = torchvision.models.convnext.CNBlockConfig
    following = [*WIDTHS[1:], None]
    setting = [blocks(width, after, depth) for width, after, depth in zip(WIDTHS, following, DEPTHS, strict=True)]
    model = stored_as(torch.float16, fill_any(torchvision.models.convnext.ConvNeXt(setting, num_classes=CLASSES)))
    torch.save(in_type(model.state_dict(), torch.float16), out.path("torchvision.pth"))
    with torch.no_grad():
        out.expect("torchvision.pth", "torchvision", model.double()(out.x))


def make_transformers(out):
    shape = dict(hidden_sizes=WIDTHS, depths=DEPTHS)
    # Its class's default: eps 1e-12 in the final norm, and nowhere else.
    assert transformers.ConvNextConfig().layer_norm_eps == 1e-12
    model = transformers.ConvNextForImageClassification(transformers.ConvNextConfig(**shape, num_labels=CLASSES))
    stored_as(torch.float16, fill_any(model)).half().save_pretrained(out.path("hf_convnext"))
    transformers.ConvNextImageProcessor(size={"shortest_edge": 96}).save_pretrained(out.path("hf_convnext"))
    with torch.no_grad():
        out.expect("hf_convnext", "hf", model.double()(out.x).logits)

    # As hubs kept weights before safetensors.
    model = transformers.ConvNextV2ForImageClassification(transformers.ConvNextV2Config(**shape, num_labels=CLASSES))
    stored_as(torch.bfloat16, fill_any(model)).bfloat16()
    folder = out.path("hf_convnextv2")
    model.config.save_pretrained(folder)
    torch.save(model.state_dict(), folder / "pytorch_model.bin")
    with torch.no_grad():
        out.expect("hf_convnextv2", "hf", model.double()(out.x).logits)

    model = transformers.DINOv3ConvNextModel(transformers.DINOv3ConvNextConfig(**shape))
    stored_as(torch.float16, fill_any(model)).half().save_pretrained(out.path("hf_dinov3"))
    with torch.no_grad():
        out.expect("hf_dinov3", "hf_dinov3", model.double()(out.x).pooler_output, "pooled")


def expect_backbone(out, path, layout, backbone, norm):
    """The last stage's output, and its mean after `norm`, which is what stands for a final norm."""
    with torch.no_grad():
        last = backbone.double()(out.x, output_hidden_states=True).hidden_states[-1]
        out.expect(path, layout, last, "stage4")
        out.expect(path, layout, norm(last.mean([-2, -1])), "pooled")


def make_backbones(out):
    shape = dict(hidden_sizes=WIDTHS, depths=DEPTHS)
    # Whatever layer_norm_eps says, the norms of the outputs have their class's eps.
    config = transformers.ConvNextConfig(**shape, out_features=["stage2", "stage4"])
    model = transformers.ConvNextBackbone(config)
    stored_as(torch.float16, fill_any(model)).half().save_pretrained(out.path("hf_backbone"))
    norm = model.hidden_states_norms["stage4"]
    assert norm.eps == 1e-6
    expect_backbone(out, "hf_backbone", "hf", model, lambda x: norm(x[..., None, None])[..., 0, 0])

    backbone = transformers.ConvNextV2Config(**shape, out_features=["stage1", "stage2", "stage3", "stage4"])
    small = dict(hidden_size=2, pool_scales=[1], auxiliary_channels=2, auxiliary_in_channels=WIDTHS[2], num_labels=2)
    model = transformers.UperNetForSemanticSegmentation(
        transformers.UperNetConfig(backbone_config=backbone, use_auxiliary_head=True, **small)
    ).eval()
    fill_any(model.backbone)
    for parameter in [*model.decode_head.parameters(), *model.auxiliary_head.parameters()]:
        torch.nn.init.zeros_(parameter)
    stored_as(torch.float16, model).half().save_pretrained(out.path("hf_upernet"))
    last_norm = model.backbone.hidden_states_norms["stage4"]
    expect_backbone(out, "hf_upernet", "hf", model.backbone, lambda x: last_norm(x[..., None, None])[..., 0, 0])

    # No norm at all: the identity in its place, as before any training of one. By the names of its own class, which
    # save_pretrained() changes.
    model = transformers.DINOv3ConvNextBackbone(transformers.DINOv3ConvNextConfig(**shape))
    stored_as(torch.float16, fill_any(model)).half()
    folder = out.path("hf_dinov3_backbone")
    model.config.save_pretrained(folder)
    torch.save(model.state_dict(), folder / "pytorch_model.bin")
    eps = model.config.layer_norm_eps
    expect_backbone(
        out, "hf_dinov3_backbone", "hf_dinov3", model, lambda x: torch.nn.functional.layer_norm(x, x.shape[-1:], eps=eps)
    )


def make_mmpretrain(out):
    model = stored_as(torch.float16, fill(small(use_grn=True, ls_init_value=None), SEED))
    theirs = {}
    for name, tensor in in_fb_names(model.state_dict()).items():
        name = name.replace("dwconv", "depthwise_conv").replace("pwconv", "pointwise_conv")
        if name.startswith("head."):
            theirs[name.replace("head.", "head.fc.")] = tensor
            continue
        tensor = tensor.flatten() if ".grn." in name else tensor
        theirs["backbone." + ("norm3." + name[5:] if name.startswith("norm.") else name)] = tensor
    theirs["data_preprocessor.mean"] = torch.zeros(3, 1, 1)
    meta = {"epoch": 300, "CLASSES": ["tench", "goldfish"]}
    torch.save({"meta": meta, "state_dict": in_type(theirs, torch.float16)}, out.path("mmpretrain.pth"))
    out.of_timm("mmpretrain.pth", "mmpretrain", model)


def make_open_clip(out):
    model = fill(small(), SEED)
    torch.nn.init.zeros_(model.head.fc.bias)
    stored_as(torch.float16, model)
    theirs = {f"visual.trunk.{name}": tensor for name, tensor in model.state_dict().items() if "head.fc." not in name}
    theirs["visual.head.proj.weight"] = model.head.fc.weight.data
    check_with_timm(theirs, model)
    theirs |= {"logit_scale": torch.tensor(4.6), "text.transformer.resblocks.0.ln_1.weight": torch.ones(2)}
    folder = out.path("open_clip")
    folder.mkdir()
    safetensors.torch.save_file(in_type(theirs, torch.float16), folder / "open_clip_model.safetensors")
    out.of_timm("open_clip", "open_clip", model)


def make_fcmae(out):
    model = stored_as(torch.float16, fill(small(num_classes=0, use_grn=True, ls_init_value=None), SEED))
    torch.nn.init.ones_(model.head.norm.weight)
    torch.nn.init.zeros_(model.head.norm.bias)
    fb = in_fb_names(model.state_dict())
    sparse = in_sparse_form(fb)
    again = dense_again(sparse)
    assert all(torch.equal(again[name], tensor) for name, tensor in fb.items() if not name.startswith("norm."))
    sparse |= {"mask_token": torch.zeros(1, 4, 1, 1), "proj.weight": torch.zeros(4, WIDTHS[3], 1, 1)}
    sparse |= {"decoder.0.dwconv.bias": torch.zeros(4), "pred.bias": torch.zeros(4)}
    torch.save({"model": in_type(sparse, torch.float16)}, out.path("fcmae.pt"))
    out.of_timm("fcmae.pt", "fcmae", model)


def main():
    parser = argparse.ArgumentParser(description="Write tests/goldens/layouts/.")
    parser.add_argument("--out", type=pathlib.Path, default=pathlib.Path("tests/goldens"))
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    torch.use_deterministic_algorithms(True)

    folder = arguments.out / "layouts"
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    out = Checkpoints(folder)
    for make in (make_timm, make_fb, make_isotropic, make_torchvision, make_transformers, make_backbones,
                 make_mmpretrain, make_open_clip, make_fcmae):  # fmt: skip
        make(out)
    write_safetensors(
        folder / "expected.safetensors",
        out.outputs,
        {
            "layouts": json.dumps(out.about, sort_keys=True),
            "seed": str(SEED),
            "torch": torch.__version__,
            "timm": timm.__version__,
            "torchvision": torchvision.__version__,
            "transformers": transformers.__version__,
        },
    )
    for path in sorted(folder.rglob("*")):
        if path.is_file():
            print(f"{path.relative_to(folder)!s:50} {path.stat().st_size:7} bytes")


if __name__ == "__main__":
    main()
